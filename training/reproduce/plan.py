"""The plan of a reproduction: its time, memory, disk and cost, computed before the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from training.llm.budget import Estimate, Prices, estimate_paths
from training.recipe import Recipe, read_recipe
from training.recipe_layers import parse_changes
from training.reproduce.t5_sizes import PUBLISHED_EXAMPLES, Shape
from training.trajectories import Trajectory, Wanted, read_table
from training.worlds.base import Recording, RecordingRequest, TrainingWorld
from training.worlds.registry import find_task, training_world
from waymark.contracts import Role

WORLD: Final[TrainingWorld] = training_world("scienceworld")
"""The world that the method was published for."""
ROLES: Final[tuple[Role, ...]] = ("controller", "executor", "first", "flat")
PublishedPaths = Literal["expert", "gold"]
"""The scripted expert's paths, or the simulator's own, as published."""
AnnotatorName = Literal["rule", "llm"]
_PUBLISHED_PATHS: Final = 2089
"""Number of train paths of the published examples."""
_ACTIONS: Final = 26
"""Actions of a gold path, on average."""
_CHARACTERS: Final = 26
"""Characters of an action, on average."""
_TASK_CHARACTERS: Final = 300
_SECONDS_OF_PATH: Final = {"10-1": 30.0, "10-2": 30.0}
_SECONDS: Final = 1.5
"""Seconds to record a path of any other task in one process."""
_SECONDS_OF_EPISODE: Final = 6.0
"""Seconds to play an episode on two cores; a large model takes longer."""
_TEST_EPISODES: Final = 271


@dataclass(frozen=True)
class Settings:
    """The options of the command."""

    folder: Path
    recipe: Path
    size: str = ""
    changes: Sequence[str] = ()
    base: str = ""
    """Overrides the recipe's base for all roles."""
    paths: PublishedPaths = "gold"
    annotator: AnnotatorName = "rule"
    limit: int | None = None
    """Largest number of variations of a task and split."""
    tasks: str = ""
    protocol: str = "seed"
    variations: str = ""
    beams: int | None = None
    processes: int = 1
    slots: int | None = None
    launch: str = ""
    llm: Sequence[str] = ()
    """Options of `annotate --annotator llm`."""
    prices: Prices | None = None
    budget: float | None = None

    @property
    def recording(self) -> Recording:
        """What to record."""
        return WORLD.recording(
            RecordingRequest(
                paths=self.paths, sampling="published", limit=self.limit, takes=0, misplaced=0, options="easy"
            )
        )

    def wanted(self) -> list[Wanted]:
        """The variations to record."""
        chosen = [WORLD.world.find_task(name) for name in self.tasks.split(",")] if self.tasks else WORLD.world.tasks
        return self.recording.plan(["train", "dev"], chosen)

    def recipe_of(self, role: Role) -> Recipe:
        """How a role is trained. Raises InvalidInput."""
        changed = parse_changes(self.changes) | ({"base": self.base} if self.base else {})
        return read_recipe(self.recipe, role, self.size, **changed)

    @property
    def data(self) -> Path:
        """The table of paths."""
        return self.folder / "trajectories.parquet"

    @property
    def annotations(self) -> Path:
        """The table of sub-goals."""
        return self.folder / "annotations.parquet"


@dataclass(frozen=True)
class Training:
    """Memory, time and disk of one role's training."""

    role: Role
    examples: int
    steps: int
    hours: float
    gigabytes: float
    """Gigabytes of memory."""
    disk: float
    """Gigabytes."""
    is_done: bool = False
    """Whether it was trained already."""


@dataclass(frozen=True)
class Plan:
    """The whole plan: what is left to do. Everything is computed; nothing is measured on this machine."""

    paths: int
    recording_hours: float
    calls: Estimate | None
    """Calls of the large model; None: annotation by rule."""
    trainings: list[Training] = field(default_factory=list)
    episodes: int = 2 * _TEST_EPISODES
    done: frozenset[str] = frozenset()
    """Names of the stages that are done already."""

    @property
    def _left(self) -> list[Training]:
        return [training for training in self.trainings if not training.is_done]

    @property
    def hours(self) -> float:
        """Hours of what is left, without annotation, which depends on the endpoint."""
        return (
            (0.0 if "trajectories" in self.done else self.recording_hours)
            + sum(training.hours for training in self._left)
            + (0.0 if "evaluate" in self.done else self.episodes * _SECONDS_OF_EPISODE / 3600)
        )

    @property
    def disk(self) -> float:
        """Gigabytes that will be written."""
        return sum(training.disk for training in self._left) + 0.2

    @property
    def memory(self) -> float:
        """Gigabytes of memory of the largest training."""
        return max((training.gigabytes for training in self._left), default=0.0)

    def lines(self) -> list[str]:
        """The plan as lines of text."""
        recorded = (
            "recorded already" if "trajectories" in self.done else f"about {self.recording_hours:.1f} h to record"
        )
        named = "named already" if "annotate" in self.done else str(self.calls or "by rule: no calls, no cost")
        lines = [f"paths      {self.paths:,} of train and dev, {recorded}", f"sub-goals  {named}"]
        lines += [
            f"{training.role:<10} {training.examples:,} examples, {training.steps:,} steps, "
            + (
                "trained already"
                if training.is_done
                else f"{training.hours:.1f} h, {training.gigabytes:.1f} GB of memory, {training.disk:.1f} GB of disk"
            )
            for training in self.trainings
        ]
        lines.append(
            f"play       {self.episodes:,} episodes of two agents{', played already' * ('evaluate' in self.done)}"
        )
        left = "left      " if self.done else "in all    "
        lines.append(f"{left} about {self.hours:.1f} h and {self.disk:.1f} GB of disk (computed, not measured)")
        return lines


def make_plan(
    settings: Settings, shapes: dict[Role, Shape], flops: float, episodes: int, done: frozenset[str] = frozenset()
) -> Plan:
    """The plan of these settings; `done` names the stages that are done. Recorded paths are counted, the rest is
    estimated.
    """
    wanted = settings.wanted()
    recorded: list[Trajectory] = read_table(settings.data, WORLD.world) if settings.data.exists() else []
    if "trajectories" not in done:
        recorded = []
    train = sum(find_task(path.task_id).split_of(path.variation) == "train" for path in wanted)
    trainings = []
    for role in ROLES:
        recipe = settings.recipe_of(role)
        examples = round(PUBLISHED_EXAMPLES[role] * train / _PUBLISHED_PATHS)
        shape = shapes[role]
        trainings.append(
            Training(
                role,
                examples,
                recipe.steps_for(examples),
                shape.hours(recipe, examples, flops),
                shape.gigabytes(recipe),
                shape.disk_gigabytes(),
                is_done=f"finetune {role}" in done,
            )
        )
    calls = None
    if settings.annotator == "llm":
        calls = estimate_paths(_characters(recorded, len(wanted)), settings.prices, WORLD.annotation_prompts())
    return Plan(
        paths=len(recorded) or len(wanted),
        recording_hours=sum(_SECONDS_OF_PATH.get(path.task_id, _SECONDS) for path in wanted)
        / settings.processes
        / 3600,
        calls=calls,
        trainings=trainings,
        episodes=2 * episodes,
        done=done,
    )


def _characters(recorded: Sequence[Trajectory], wanted: int) -> list[tuple[int, int]]:
    """Number of characters of the question and the answer about each path."""
    if not recorded:
        listed = _ACTIONS * (_CHARACTERS + 4)
        return [(_TASK_CHARACTERS + listed, round(1.4 * listed))] * wanted
    lengths = [sum(len(step.action) + 4 for step in path.steps) for path in recorded]
    return [(len(path.task) + listed, round(1.4 * listed)) for path, listed in zip(recorded, lengths, strict=True)]
