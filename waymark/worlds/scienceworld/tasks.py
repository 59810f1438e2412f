"""The 30 task types of ScienceWorld 1.2.x and their variations.

The simulator numbers a task's variations from 0 and splits them in order: train, dev, test. The counts
here let services and the command line check an input without a JVM; an integration test compares them
with the simulator. Groups follow the length of the oracle path (Lin et al., SwiftSage, NeurIPS 2023):
short < 20 actions, medium 20 to 50, long >= 50.
"""

from __future__ import annotations

from typing import Final

from waymark.worlds import base
from waymark.worlds.base import SPLITS, Split, TaskType, check_variation

GROUPS: Final = ("short", "medium", "long")

TASKS: tuple[TaskType, ...] = (
    TaskType("1-1", "boil", "long", 14, 7, 9),
    TaskType("1-2", "melt", "long", 14, 7, 9),
    TaskType("1-3", "freeze", "long", 14, 7, 9),
    TaskType("1-4", "change-the-state-of-matter-of", "long", 14, 7, 9),
    TaskType("2-1", "use-thermometer", "medium", 270, 135, 135),
    TaskType("2-2", "measure-melting-point-known-substance", "medium", 218, 109, 109),
    TaskType("2-3", "measure-melting-point-unknown-substance", "long", 150, 75, 75),
    TaskType("3-1", "power-component", "short", 10, 5, 5),
    TaskType("3-2", "power-component-renewable-vs-nonrenewable-energy", "medium", 10, 5, 5),
    TaskType("3-3", "test-conductivity", "medium", 450, 225, 225),
    TaskType("3-4", "test-conductivity-of-unknown-substances", "medium", 300, 150, 150),
    TaskType("4-1", "find-living-thing", "short", 150, 75, 75),
    TaskType("4-2", "find-non-living-thing", "short", 150, 75, 75),
    TaskType("4-3", "find-plant", "short", 150, 75, 75),
    TaskType("4-4", "find-animal", "short", 150, 75, 75),
    TaskType("5-1", "grow-plant", "long", 62, 31, 33),
    TaskType("5-2", "grow-fruit", "long", 62, 31, 33),
    TaskType("6-1", "chemistry-mix", "medium", 16, 8, 8),
    TaskType("6-2", "chemistry-mix-paint-secondary-color", "short", 18, 9, 9),
    TaskType("6-3", "chemistry-mix-paint-tertiary-color", "medium", 18, 9, 9),
    TaskType("7-1", "lifespan-longest-lived", "short", 62, 31, 32),
    TaskType("7-2", "lifespan-shortest-lived", "short", 62, 31, 32),
    TaskType("7-3", "lifespan-longest-lived-then-shortest-lived", "short", 62, 31, 32),
    TaskType("8-1", "identify-life-stages-1", "medium", 6, 3, 5),
    TaskType("8-2", "identify-life-stages-2", "short", 4, 2, 4),
    TaskType("9-1", "inclined-plane-determine-angle", "long", 84, 42, 42),
    TaskType("9-2", "inclined-plane-friction-named-surfaces", "long", 692, 346, 348),
    TaskType("9-3", "inclined-plane-friction-unnamed-surfaces", "long", 80, 40, 42),
    TaskType("10-1", "mendelian-genetics-known-plant", "long", 60, 30, 30),
    TaskType("10-2", "mendelian-genetics-unknown-plant", "long", 240, 120, 120),
)
__all__ = ["GROUPS", "SPLITS", "TASKS", "Split", "TaskType", "check_variation", "find_task"]


def find_task(name: str) -> TaskType:
    """The task type with that id (`4-2`) or name (`find-non-living-thing`).

    Raises InvalidInput (field `tasks`) that lists the known ids.
    """
    return base.find_task(TASKS, name, "ScienceWorld")
