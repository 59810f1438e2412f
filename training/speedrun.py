"""From nothing to weights of the shipped kind: every stage in order, resumable, with the time that each took.

    1. data          the repository's trajectories and sub-goals, or all of them recorded anew (`anew`)
    2. first leg     controller, executor and flat from random weights (training/recipes/speedrun.json)
    3. corrections   the hierarchical and the flat agent each play training variations; from where one goes astray, the
                     direct way on becomes its own data (`training.worlds.scienceworld.dagger`)
    4. second leg    each goes on with its own corrections (training/recipes/speedrun-more.json), and is exported

Flat is treated as the other two are: it has as many parameters as controller and executor together (5.6 M against
5.5 M), as many updates as each of them, corrections of its own, the same selection and the same rule to stop. A claim
about sub-goals may be made from this pair.

The legs of the weights that ship were many and their data changed in between (docs/results.md); these two add up to the
same number of updates for the executor. Stages are commands of `python -m training` and resume by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.recipe import read_recipe, recipe_sha256
from training.resumable_stages import Progress, Stage, clock, run_stages, run_training
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.worlds.registry import DEFAULT_WORLD

FIRST: Final = Path("training/recipes/speedrun.json")
MORE: Final = Path("training/recipes/speedrun-more.json")
ROLES: Final[tuple[Role, ...]] = ("executor", "controller", "flat")
AGENTS: Final = ("hierarchical", "flat")
_TOY: Final = (
    "width=32",
    "feedforward=32",
    "heads=2",
    "encoder_layers=1",
    "decoder_layers=1",
    "batch=4",
    "evaluated=8",
)
_TOY_MORE: Final = ("batch=4", "evaluated=8")
_TOY_STEPS: Final = 3
_TOY_TASKS: Final = "4-2"


@dataclass(frozen=True)
class Speedrun:
    """What to make, and where."""

    folder: Path
    prompt_format: str = "compact"
    anew: bool = False
    """Record trajectories and sub-goals anew instead of taking the repository's."""
    leave_out: int | None = None
    """A fold whose things no model sees; it takes the place of dev."""
    roles: tuple[Role, ...] = ROLES
    steps: int | None = None
    """Updates of the first leg; None: the recipe's. The second leg has two thirds of them. If it is given, hard
    examples are not drawn more often: to measure their losses takes as long as a thousand updates."""
    seed: int = 0
    rules: str = "all"
    """The rules of play that the corrected agents use: all or none."""
    rollouts: int | None = None
    """Episodes of each task type that each agent plays for its corrections; None: the command's own number."""
    processes: int = 1
    toy: bool = False
    """Tiny models, a few variations of one task type, three updates: says that the stages fit together."""

    @property
    def corrected(self) -> tuple[str, ...]:
        """The agents whose roles are all trained."""
        both = {"controller", "executor"} <= set(self.roles)
        return tuple(agent for agent, is_there in (("hierarchical", both), ("flat", "flat" in self.roles)) if is_there)


def stages(run: Speedrun) -> Iterator[Stage]:
    """All stages, in order. Raises InvalidInput for a recipe that is damaged."""
    world = training_world(DEFAULT_WORLD)
    data, annotations = world.data, world.annotations
    if run.anew or run.toy:
        data = run.folder / "data" / "paths.parquet"
        chosen = ("--tasks", _TOY_TASKS, "--limit", "6", "--takes", "0", "--misplaced", "0") if run.toy else ()
        yield _recorded("trajectories", (*chosen, "--processes", str(run.processes), "--output", str(data)), data)
        annotations = _annotations_of(data)
        yield _annotated(data)
    for role in run.roles:
        yield _trained(run, role, FIRST, "first", data, annotations)
        yield _exported(run, role, "first", data)
    own: dict[str, Path] = {}
    for agent in run.corrected:
        own[agent] = run.folder / "data" / f"{agent}.parquet"
        times = str(1 if run.toy else run.rollouts)
        few = ("--rollouts", times, "--misplaced", times) if run.toy or run.rollouts else ()
        options = ("--agent", agent, "--rules", run.rules, "--checkpoints", str(run.folder / "first"), *few)
        yield _recorded(
            f"corrections of {agent}",
            ("--afresh", *options, "--processes", str(run.processes), "--data", str(data), "--output", str(own[agent])),
            own[agent],
            "corrections",
        )
        yield _annotated(own[agent], f" of {agent}")
    for role in run.roles:
        table = own.get("flat" if role == "flat" else "hierarchical", data)
        yield _trained(
            run, role, MORE, "second", table, _annotations_of(table) if table in own.values() else annotations
        )
        yield _exported(run, role, "second", table)


def _annotations_of(data: Path) -> Path:
    return data.with_name(f"{data.stem}-subgoals.parquet")


def _recorded(name: str, options: tuple[str, ...], table: Path, command: str = "trajectories") -> Stage:
    return Stage(name, "training", (command, *options), (table, table.with_suffix(".manifest.json")))


def _annotated(data: Path, whose: str = "") -> Stage:
    output = _annotations_of(data)
    return Stage(f"sub-goals{whose}", "training", ("annotate", "--data", str(data), "--output", str(output)), (output,))


def _trained(run: Speedrun, role: Role, recipe: Path, leg: str, data: Path, annotations: Path) -> Stage:
    folder = run.folder / "runs" / leg / role
    changes = _changes(run, leg)
    first = run.folder / "runs" / "first" / role / "best"
    base = ("--base", str(first)) if leg == "second" else ()
    left = () if run.leave_out is None else ("--leave-out", str(run.leave_out))
    arguments = (
        "finetune", role, "--format", run.prompt_format, "--recipe", str(recipe), *base,
        *(word for change in changes for word in ("--set", change)), "--seed", str(run.seed + (leg == "second")), *left,
        "--data", str(data), "--annotations", str(annotations), "--run", str(folder),
    )  # fmt: skip
    return Stage(
        f"{leg} leg of {role}", "training", arguments, (folder / "best",), recipe_sha256(read_recipe(recipe, role))
    )


def _changes(run: Speedrun, leg: str) -> tuple[str, ...]:
    steps = _TOY_STEPS if run.toy else run.steps
    if steps is None:
        return ()
    if leg == "second":
        return (*(_TOY_MORE if run.toy else ()), f"steps={max(1, 2 * steps // 3)}")
    without_drills = (*_TOY, "drills=0") if run.toy else ()
    return (*without_drills, "hard=0.0", f"steps={steps}")


def _exported(run: Speedrun, role: Role, leg: str, data: Path) -> Stage:
    source = run.folder / "runs" / leg / role
    output = run.folder / ("first" if leg == "first" else "checkpoints") / role
    options = ("--format", run.prompt_format, "--run", str(source), "--output", str(output), "--data", str(data))
    return Stage(f"export {leg} {role}", "training", ("export", role, *options), (output,))


def run_all(run: Speedrun, say: Callable[[str], object]) -> Progress:
    """Do what is not done. Raises StageFailed and what a stage raises; the same call goes on where it stopped.

    A training that was stopped by a signal has saved its state, and its stage counts as not done.
    """
    progress, planned = Progress(run.folder), list(stages(run))
    if not planned:
        raise InvalidInput("No role is named.", remedy=f"Roles are {', '.join(ROLES)}.", field="roles")
    run_stages(planned, progress, lambda stage: run_training(stage.arguments), say, timed=True)
    return progress


def times(progress: Progress) -> str:
    """What each stage took, one a line, and the sum. A stage that was resumed counts from where it went on."""
    rows = [(name, entry["seconds"]) for name, entry in progress.done.items()]
    rows.append(("all", sum(seconds for _, seconds in rows)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {clock(seconds)}" for name, seconds in rows)
