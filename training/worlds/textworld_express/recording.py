"""Which paths of TextWorldExpress to record, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.trajectories import Record, Wanted
from training.worlds.base import PathSource
from training.worlds.gold_replay import record_gold
from training.worlds.textworld_express.paths import record
from training.worlds.variation_choice import balanced, spread
from waymark.worlds.base import Split, TaskType

PER_GAME: Final = 400
"""Train seeds of each game that are recorded, unless a limit says otherwise."""
HELD_OUT: Final = 25
"""Seeds of each game that are recorded of a fold that is not trained on."""


@dataclass(frozen=True)
class Recording:
    """Implements `training.worlds.base.Recording`. Gold paths have no takes."""

    paths: PathSource
    limit: int
    """At most this many train seeds of a game."""
    limits: Mapping[str, int]
    """Game to another limit."""
    takes: int
    """Of a game's train seeds together; shared among them, at least one each unless it is 0."""
    options: str

    @property
    def record(self) -> Record:
        """Makes the trajectories of one seed."""
        return record_gold if self.paths == "gold" else record

    def plan(self, splits: Sequence[Split], tasks: Sequence[TaskType]) -> list[Wanted]:
        """Every game's first seed, then every game's second."""
        wanted: list[Wanted] = []
        for split in splits:
            trained = split == "train"
            games = []
            for task in tasks:
                seeds = spread(task, split, self.limits.get(task.id, self.limit) if trained else HELD_OUT)
                takes = -(-self.takes // len(seeds)) if trained and self.paths != "gold" and seeds else 0
                games.append([Wanted(task.id, seed, self.options, takes) for seed in seeds])
            wanted += balanced(games)
        return wanted

    def parts(self, tasks: str) -> Path:
        """Where finished seeds are kept."""
        limits = [f"{task}={count}" for task, count in self.limits.items()]
        named = ["textworld-express", self.paths, self.options or "default", self.limit, *limits, self.takes]
        return Path(f"build/trajectories/{'-'.join(map(str, named))}{'-' + tasks if tasks else ''}.jsonl")

    @property
    def settings(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "options": self.options,
            "paths": self.paths,
            "limit": self.limit,
            "limits": dict(self.limits),
            "takes": 0 if self.paths == "gold" else self.takes,
        }
