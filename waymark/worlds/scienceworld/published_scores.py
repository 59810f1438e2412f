"""Published scores on ScienceWorld, read from the tables beside this module."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Final

from waymark.worlds.base import PublishedAgent, PublishedScores
from waymark.worlds.scienceworld.tasks import GROUPS

_COLUMNS: Final = {"saycan": "SayCan", "react": "ReAct", "reflexion": "Reflexion", "swiftsage_gpt4": "SwiftSage"}
"""Columns of `published_per_task.csv` and the methods they belong to."""
_NOTES: Final = (
    "The published agents were evaluated under protocols of their own, not under this run's, so their figures "
    "give an orientation and cannot be compared line by line.",
    "Sub-goal Distillation's own two rows are quoted second-hand.",
)


def read_published_scores() -> PublishedScores:
    """The agents, weakest first as listed, and the scores by task of those that gave them."""
    return PublishedScores(
        agents=tuple(
            PublishedAgent(
                method=row["method"],
                model=row["model"],
                overall=float(row["overall"]),
                groups={group: float(row[group]) for group in GROUPS if row[group]},
                provenance=row["provenance"],
            )
            for row in _rows("published_overall.csv")
        ),
        tasks={
            row["task_id"]: {method: float(row[column]) for column, method in _COLUMNS.items()}
            for row in _rows("published_per_task.csv")
        },
        columns=tuple(_COLUMNS.values()),
        notes=_NOTES,
    )


def _rows(name: str) -> list[dict[str, str]]:
    text = files("waymark.worlds.scienceworld").joinpath("published", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
