"""What each rule of play is worth: all rules, all but one, and none, on a fold of the training variations.

    python -m benchmarks.ablation --fold 0 [--agents hierarchical,flat] [--variations 6] [--repeats 3] [--json FILE]
    python -m benchmarks.ablation --fold 0 --arms all,none,in-sight

A fold holds the variations that ask for certain things (`python -m training folds` lists them). Its scores say
something about unknown things only if the checkpoints were trained without the fold (`finetune --leave-out FOLD`). The
checkpoints that ship have seen all training things: with them the figures say what the rules are worth on known things,
and the report says so. Test variations are never played here.

The agent with all rules plays first. A rule that acted in none of its turns is worth nothing there and is not taken
away. Where it acted in some task types, only those are played without it, and the others count as they are. The worth
of a rule is the score with all rules minus the score without this one, on the same variations, with an interval
over things (`waymark.evaluation.intervals_over_things`). Effects do not add up: rules stand in for each other.

Finished parts (an agent, its rules, a task type) are kept in --runs, and the same command resumes. Part of a part is
played again. An episode takes about 2 to 10 s of a core: one arm of one agent on 28 task types, 6 variations and
3 repeats is about 500 episodes.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.machine import describe
from training.trajectories import read_table
from training.worlds.registry import training_world
from waymark.agent.named_agents import AGENTS, find_agents
from waymark.cli.local_stack import CHECKPOINTS, Stack, StackOptions
from waymark.clients.services import EvaluationClient
from waymark.contracts import AgentConfig, EpisodeResult, EvaluationRequest, Limits
from waymark.errors import InvalidInput, WaymarkError
from waymark.evaluation.intervals_over_things import ThingScores, mean_over_things, over_things, single_things
from waymark.evaluation.requested_episodes import TURNS_PER_MOVE
from waymark.inference.checkpoint import load
from waymark.operating_system.cpu_cores import simulators_at_once
from waymark.worlds.registry import DEFAULT_WORLD, agent_world

ALL: Final = "all"
NONE: Final = "none"
_PARTS: Final = "parts.jsonl"
_SETTINGS: Final = "settings.json"
_PATIENCE: Final = 50
"""Turns without a change of score after which an episode ends, as in the protocol `seed`."""
_SERVICES: Final = ("controller", "executor", "flat")

Chosen = Mapping[str, Mapping[str, Sequence[int]]]
"""Task id to thing to variations."""
Scores = dict[tuple[str, int], list[float]]
"""Task id and variation to the scores of its plays."""


@dataclass(frozen=True)
class Part:
    """What is played and kept as a whole."""

    agent: str
    arm: str
    """`all`, `none`, or the rule that is left out."""
    task: str


@dataclass(frozen=True)
class Played:
    """The results of one part."""

    part: Part
    scores: dict[int, list[float]]
    """Variation to the clamped scores of its plays, 0 for an episode that errored."""
    rules: dict[str, int]
    """Rule to the turns in which it acted."""
    errors: int

    @classmethod
    def of(cls, part: Part, results: Iterable[EpisodeResult]) -> Played:
        """Sum up the episodes of a part."""
        scores: dict[int, list[float]] = {}
        rules: Counter[str] = Counter()
        errors = 0
        for result in sorted(results, key=lambda result: (result.variation, result.repeat)):
            scores.setdefault(result.variation, []).append(0.0 if result.error else float(result.score))
            rules.update({use.rule: use.turns for use in result.rules})
            errors += result.error is not None
        return cls(part, scores, dict(rules), errors)


class Kept:
    """The parts that are finished, in a folder, with the settings that they were played under."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Raises InvalidInput for a folder of other settings."""
        self._path = folder / _PARTS
        self.played: dict[Part, Played] = {}
        folder.mkdir(parents=True, exist_ok=True)
        begun = folder / _SETTINGS
        if begun.exists():
            before = json.loads(begun.read_text())
            for name, value in settings.items():
                if before.get(name) != value:
                    raise InvalidInput(
                        f"The folder {folder} was begun with other {name}.", remedy="Give another --runs.", field="runs"
                    )
        else:
            begun.write_text(json.dumps(settings, indent=1) + "\n")
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                played = _from_json(json.loads(line))
            except ValueError:  # torn by a kill; the part is played again
                continue
            self.played[played.part] = played

    def add(self, played: Played) -> None:
        """Keep a part."""
        line = {**vars(played), "part": vars(played.part)}
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a") as file:
            file.write("\n" * torn + json.dumps(line) + "\n")
        self.played[played.part] = played


def _from_json(line: Mapping[str, Any]) -> Played:
    scores = {int(variation): plays for variation, plays in line["scores"].items()}
    return Played(Part(**line["part"]), scores, line["rules"], line["errors"])


# --- what is played --------------------------------------------------------------------------------------


def rules_without(arm: str) -> tuple[str, ...] | None:
    """The rules of an arm, as `AgentConfig.rules` takes them."""
    if arm == ALL:
        return None
    names = [rule.name for rule in agent_world(DEFAULT_WORLD).rules]
    return () if arm == NONE else tuple(sorted(name for name in names if name != arm))


def arms_after(first: Sequence[Played], wanted: Sequence[str] | None) -> list[str]:
    """The other arms of an agent, once it has played with all rules: none, then those that acted, most often first.

    `wanted` are the only ones to play; None: all.
    """
    acted: Counter[str] = Counter()
    for played in first:
        acted.update(played.rules)
    arms = [NONE, *(rule for rule, _ in acted.most_common())]
    return [arm for arm in arms if wanted is None or arm in wanted]


def request_of(agent: AgentConfig, part: Part, chosen: Chosen, repeats: int, moves: int) -> EvaluationRequest:
    """What the env-runner is asked for one part. Variations are named, so the protocol gives a name only.

    All agents stop by the same rule: the published flat agent's own would compare stop rules, too.
    """
    limits = Limits(moves=moves, turns=TURNS_PER_MOVE * moves, patience=_PATIENCE)
    return EvaluationRequest(
        protocol="dev",
        tasks=(part.task,),
        variations=tuple(variation for variations in chosen[part.task].values() for variation in variations),
        agent=agent.model_copy(update={"rules": rules_without(part.arm)}),
        limits=limits,
        repeats=repeats,
    )


Play = Callable[[Sequence[tuple[Part, EvaluationRequest]]], Iterator[Played]]
"""Plays parts and yields each as it is finished."""


def play_all(
    kept: Kept, agents: Sequence[str], arms: Sequence[str] | None, chosen: Chosen, repeats: int, moves: int, play: Play
) -> None:
    """Play what is not kept yet, arm after arm, and keep it."""
    for name in agents:
        agent = AGENTS[name]

        def fill(arm: str, name: str = name, agent: AgentConfig = agent) -> None:
            missing = [Part(name, arm, task) for task in chosen if _played(kept, Part(name, arm, task)) is None]
            for played in play([(part, request_of(agent, part, chosen, repeats, moves)) for part in missing]):
                kept.add(played)

        fill(ALL)
        for arm in arms_after([kept.played[Part(name, ALL, task)] for task in chosen], arms):
            fill(arm)


def _played(kept: Kept, part: Part) -> Played | None:
    """The results of a part: its own, or those with all rules where the rule that it lacks never acted."""
    if part in kept.played or part.arm in {ALL, NONE}:
        return kept.played.get(part)
    whole = kept.played.get(Part(part.agent, ALL, part.task))
    return whole if whole is not None and not whole.rules.get(part.arm) else None


def stack_player(stack: Stack, advance: Callable[[int], object]) -> Play:
    """Plays on a running stack; `told` hears of each finished episode."""

    def play(wanted: Sequence[tuple[Part, EvaluationRequest]]) -> Iterator[Played]:
        for at in range(0, len(wanted), _AT_ONCE):
            yield from asyncio.run(_play(stack.url("env-runner"), wanted[at : at + _AT_ONCE], advance))

    return play


_AT_ONCE: Final = 4
"""Evaluations submitted together, so that no slot waits for the last episode of one."""


async def _play(
    url: str, wanted: Sequence[tuple[Part, EvaluationRequest]], advance: Callable[[int], object]
) -> list[Played]:
    async with EvaluationClient(url) as client:
        submitted = [(part, await client.submit(request)) for part, request in wanted]
        played = []
        for part, status in submitted:
            results = []
            async for event in client.events(status.id):
                if isinstance(event, EpisodeResult):
                    results.append(event)
                    advance(1)
            played.append(Played.of(part, results))
        return played


# --- what came of it -------------------------------------------------------------------------------------


def by_things(chosen: Chosen, *arms: Scores) -> ThingScores:
    """Scores of one arm, or differences of two (first minus second), by task type, thing, variation and play."""
    nested: list[list[list[list[float]]]] = []
    for task, things in chosen.items():
        of_task = []
        for variations in things.values():
            plays = [[arm[task, variation] for arm in arms] for variation in variations]
            of_task.append(
                [_difference(*of_variation) if len(of_variation) > 1 else of_variation[0] for of_variation in plays]
            )
        nested.append(of_task)
    return nested


def _difference(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [first_score - second_score for first_score, second_score in zip(first, second, strict=True)]


def report(kept: Kept, agents: Sequence[str], chosen: Chosen) -> dict[str, Any]:
    """Means and intervals of every arm that is complete, and what each rule is worth."""
    document: dict[str, Any] = {"agents": {}, "single_things": 0}
    complete = {name: _complete(kept, name, chosen) for name in agents}
    for name, arms in complete.items():
        if ALL not in arms:
            continue
        whole = by_things(chosen, arms[ALL])
        document["single_things"] = single_things(whole)
        rows = []
        for arm, scores in arms.items():
            nested = by_things(chosen, scores)
            worth = by_things(chosen, arms[ALL], scores)
            row = {"arm": arm, "mean": mean_over_things(nested), "ci95": over_things(nested)}
            if arm != ALL:
                row |= {"worth": mean_over_things(worth), "worth_ci95": over_things(worth)}
            parts = [part for task in chosen if (part := _played(kept, Part(name, arm, task))) is not None]
            row["tasks"] = {part.part.task: _task_mean(part) for part in parts}
            row["errors"] = sum(part.errors for part in parts)
            row["turns_acted"] = sum(kept.played[Part(name, ALL, task)].rules.get(arm, 0) for task in chosen)
            rows.append(row)
        document["agents"][name] = rows
    for arm in (ALL, NONE):
        pair = [complete.get(name, {}).get(arm) for name in ("hierarchical", "flat")]
        if pair[0] is not None and pair[1] is not None:
            nested = by_things(chosen, pair[0], pair[1])
            document[f"hierarchical_minus_flat_{arm}"] = {"mean": mean_over_things(nested), "ci95": over_things(nested)}
    return document


def _task_mean(played: Played) -> float:
    means = [sum(plays) / len(plays) for plays in played.scores.values()]
    return sum(means) / len(means)


def _complete(kept: Kept, agent: str, chosen: Chosen) -> dict[str, Scores]:
    arms: dict[str, Scores] = {}
    for arm in dict.fromkeys(part.arm for part in kept.played if part.agent == agent):
        parts = [_played(kept, Part(agent, arm, task)) for task in chosen]
        if all(part is not None for part in parts):
            arms[arm] = {
                (part.part.task, variation): plays for part in parts if part for variation, plays in part.scores.items()
            }
    return arms


def show(document: Mapping[str, Any], console: Console) -> None:
    """Print the report as tables."""
    for name, rows in document["agents"].items():
        shown = Table(title=name, box=box.SIMPLE)
        for column in ("rules", "mean", "95%", "worth", "95%", "turns"):
            shown.add_column(column, justify="left" if column == "rules" else "right", no_wrap=True)
        for row in rows:
            label = row["arm"] if row["arm"] in (ALL, NONE) else f"without {row['arm']}"
            worth = f"{row['worth']:+.1f}" if "worth" in row else ""
            shown.add_row(
                label, f"{row['mean']:.1f}", _span(row["ci95"]), worth, _span(row.get("worth_ci95")),
                str(row["turns_acted"] or ""),
            )  # fmt: skip
        console.print(shown)
    for arm in (ALL, NONE):
        if pair := document.get(f"hierarchical_minus_flat_{arm}"):
            console.print(f"hierarchical minus flat, {arm} rules: {pair['mean']:+.1f} {_span(pair['ci95'])}")
    if document["single_things"]:
        console.print(f"{document['single_things']} task types have one thing only, so intervals are too narrow.")
    console.print(document["about"]["note"])


def _span(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else ""


def note_on(checkpoints: Path, fold: int) -> str:
    """What the figures may be read as, given how the checkpoints were trained."""
    commands = [load(folder).card.training.command for folder in _folders(checkpoints)]
    without = [f"--leave-out {fold}" in command for command in commands]
    if all(without):
        return f"The models were trained without the things of fold {fold}."
    return (
        "Some of these models were trained on this fold's variations: figures are about known things, and say nothing "
        "about scores on unknown ones."
    )


def _folders(checkpoints: Path) -> list[Path]:
    return [checkpoints / service for service in _SERVICES if (checkpoints / service).is_dir()]


def main(
    fold: Annotated[int, typer.Option(help="Fold of training variations: 0, 1 or 2.")] = 0,
    agents: Annotated[
        str, typer.Option(help="hierarchical, flat, or both separated by a comma.")
    ] = "hierarchical,flat",
    arms: Annotated[
        str,
        typer.Option(
            help="What to play after all rules: none, or rules to leave out, separated by commas. Default: both."
        ),
    ] = "",
    variations: Annotated[int, typer.Option(help="Largest number of variations of each task type.", min=1)] = 6,
    repeats: Annotated[int, typer.Option(help="Plays of each variation.", min=1)] = 3,
    moves: Annotated[int, typer.Option(help="Simulator moves of an episode.", min=1)] = 100,
    tasks: Annotated[str, typer.Option(help="Task ids, separated by commas. Default: all tasks of the fold.")] = "",
    checkpoints: Annotated[Path, typer.Option(help="Folder with controller/, executor/ and flat/.")] = CHECKPOINTS,
    data: Annotated[Path, typer.Option(help="Table of trajectories.")] = Path("data/trajectories.parquet"),
    runs: Annotated[Path, typer.Option(help="Folder for partial results and run folders.")] = Path("build/ablation"),
    slots: Annotated[int | None, typer.Option(help="Episodes played at once. Default: 3 for every 2 cores.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the report, in JSON.")] = None,
) -> None:
    """Play, compare, and print what each rule is worth."""
    console = Console(highlight=False)
    try:
        names = [name.strip() for name in agents.split(",") if name.strip()]
        find_agents(names)
        chosen = training_world(DEFAULT_WORLD).held_out(read_table(data), fold, variations)
        if tasks:
            chosen = {task: chosen[task] for task in tasks.split(",") if task in chosen}
        wanted = [arm.strip() for arm in arms.split(",")] if arms else None
        settings = {
            "fold": fold,
            "variations": {
                task: {thing: list(own) for thing, own in things.items()} for task, things in chosen.items()
            },
            "repeats": repeats,
            "moves": moves,
            "checkpoints": {folder.name: load(folder).sha256 for folder in _folders(checkpoints)},
        }
        kept = Kept(runs, settings)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        options = StackOptions(runs=runs, checkpoints=checkpoints, slots=slots or simulators_at_once())
        with Stack(options) as stack, Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("episodes", total=None)
            play_all(
                kept, names, wanted, chosen, repeats, moves, stack_player(stack, lambda done: bar.advance(task, done))
            )
        document = report(kept, names, chosen)
        document["about"] = {
            **settings,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe().model_dump(mode="json"),
            "note": note_on(checkpoints, fold),
        }
    except WaymarkError as error:
        Console(stderr=True).print(str(error), style="bold red")
        raise typer.Exit(2) from error
    show(document, console)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
