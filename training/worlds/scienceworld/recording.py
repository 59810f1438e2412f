"""Which paths of ScienceWorld to record, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.trajectories import Record, Wanted
from training.worlds.base import PathSource, Sampling
from training.worlds.scienceworld import gold_paths
from training.worlds.scienceworld.expert import MISPLACED
from training.worlds.scienceworld.paths import PERTURBATION_RATE, record
from training.worlds.variation_choice import balanced, spread
from waymark.worlds.scienceworld.tasks import TASKS, Split, TaskType

PER_TASK = 80
"""Variations of each task that are recorded of the split that is trained on, unless a limit says otherwise."""
HELD_OUT = 3
"""Variations of each task that are recorded of a split that is not trained on."""


@dataclass(frozen=True)
class Recording:
    """A set of paths. Detours and misplaced things are part of neither gold paths nor published variations."""

    paths: PathSource
    sampling: Sampling
    limit: int | None
    """At most this many variations of a task and split; None: the default of the sampling."""
    limits: dict[str, int]
    """Task id to another limit, of train variations."""
    takes: int
    misplaced: int
    simplifications: str

    @property
    def record(self) -> Record:
        """Makes the trajectories of one variation."""
        return gold_paths.record_gold if self.paths == "gold" else record

    @property
    def is_plain(self) -> bool:
        """Whether there are no takes beside the paths themselves."""
        return self.paths == "gold" or self.sampling == "published"

    def plan(self, splits: Sequence[Split], tasks: Sequence[TaskType]) -> list[Wanted]:
        """The variations to record, so ordered that a stopped run is balanced over the tasks."""
        if self.sampling == "published":
            return gold_paths.plan(splits, self.limit, self.simplifications, tasks)
        takes, misplaced = (0, 0) if self.is_plain else (self.takes, self.misplaced)
        wanted: list[Wanted] = []
        for split in splits:
            if split == "train":
                limit = self.limit or PER_TASK
                wanted += plan(split, limit, self.limits, self.simplifications, takes, misplaced, tasks)
            else:
                wanted += plan(split, HELD_OUT, {}, self.simplifications, tasks=tasks)
        return wanted

    def parts(self, tasks: str) -> Path:
        """Where finished variations are kept. What was recorded by other settings is another's: takes are numbered and
        drawn by them."""
        limits = [f"{task}={count}" for task, count in self.limits.items()]
        named = [self.simplifications, self._limit, *limits, self.takes, self.misplaced]
        if self.is_plain:
            named = [self.paths, self.sampling, self.simplifications, self._limit, *limits]
        return Path(f"build/trajectories/{'-'.join(map(str, named))}{'-' + tasks if tasks else ''}.jsonl")

    @property
    def settings(self) -> dict[str, Any]:
        """What a manifest says of it."""
        taken = {"takes": 0, "misplaced": 0} if self.is_plain else {"takes": self.takes, "misplaced": self.misplaced}
        return {
            "simplifications": self.simplifications,
            "limit": self._limit,
            "limits": self.limits,
            **taken,
            "paths": self.paths,
            "sampling": self.sampling,
            "detours": PERTURBATION_RATE,
        }

    @property
    def _limit(self) -> int | None:
        return self.limit or (PER_TASK if self.sampling == "all" else None)


def plan(
    split: Split,
    limit: int,
    limits: dict[str, int],
    simplifications: str,
    takes: int = 0,
    misplaced: int = 0,
    tasks: Sequence[TaskType] = TASKS,
) -> list[Wanted]:
    """What to record of these tasks: every task's first, then every task's second, so that a stopped run is balanced.

    `takes` is how many takes with detours a task gets in all, shared among its variations, at least one each;
    `misplaced` the same for takes whose thing lies elsewhere, where a task has such.
    """
    chosen: list[list[Wanted]] = []
    for task in tasks:
        variations = spread(task, split, limits.get(task.id, limit))
        takes_of_each = -(-takes // len(variations)) if variations else 0
        moved = -(-misplaced // len(variations)) if variations and task.id in MISPLACED else 0
        wanted = (Wanted(task.id, variation, simplifications, takes_of_each, moved) for variation in variations)
        chosen.append(list(wanted))
    return balanced(chosen)
