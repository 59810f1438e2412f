"""The eight games of TextWorldExpress 1.1.0, each a task type whose variations are the simulator's seeds.

The simulator has 1,000 seeds in each fold: 0 to 999 for training, 10,000 on for development, 20,000 on for test.
Variations are numbered without gaps (0 to 2,999), so that every world counts them alike; `seed_of` maps them.
Games are grouped by what they ask for: `search` (explore until something is found), `household` (many steps, many
rooms), `reasoning` (read or compare, then act). The groups are ours.
"""

from __future__ import annotations

from typing import Final

from waymark.errors import InvalidInput
from waymark.worlds.base import Split, TaskType

SEEDS: Final = 1_000
"""Of each fold of each game."""
_FIRST_SEED: Final[dict[Split, int]] = {"train": 0, "dev": 10_000, "test": 20_000}

GROUPS: Final = ("search", "household", "reasoning")
TASKS: Final[tuple[TaskType, ...]] = tuple(
    TaskType(name, name, group, SEEDS, SEEDS, SEEDS)
    for name, group in (
        ("cookingworld", "household"),
        ("twc", "household"),
        ("coin", "search"),
        ("mapreader", "search"),
        ("arithmetic", "reasoning"),
        ("sorting", "reasoning"),
        ("simonsays", "reasoning"),
        ("peckingorder", "reasoning"),
    )
)


def find_task(name: str) -> TaskType:
    """The game of that name. Raises InvalidInput (field `tasks`) that lists them."""
    for task in TASKS:
        if name == task.id:
            return task
    raise InvalidInput(
        f"Unknown game {name[:100]!r}.", remedy=f"Games are {', '.join(task.id for task in TASKS)}.", field="tasks"
    )


def seed_of(task: TaskType, variation: int) -> tuple[Split, int]:
    """The fold and the simulator's seed of a variation.

    >>> seed_of(TASKS[0], 1_002)
    ('dev', 10002)
    """
    split = task.split_of(variation)
    return split, _FIRST_SEED[split] + variation - task.split(split).start
