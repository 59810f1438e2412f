"""Finds the `TrainingWorld` of a name or of a task type. No other module imports one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Final

from training.worlds.base import TrainingWorld
from waymark.errors import InvalidInput
from waymark.worlds.base import TaskType
from waymark.worlds.registry import world_of_task

_MODULES: Final = {
    "scienceworld": "training.worlds.scienceworld.world",
    "textworld-express": "training.worlds.textworld_express.world",
}
TRAINING_WORLDS: Final = tuple(_MODULES)


@cache
def training_world(name: str) -> TrainingWorld:
    """The world of that name. Raises InvalidInput (field `world`) that lists those that can be trained for."""
    if name not in _MODULES:
        raise InvalidInput(
            f"No agents are trained for a world {name[:100]!r}.",
            remedy=f"Worlds are {', '.join(TRAINING_WORLDS)}.",
            field="world",
        )
    world: TrainingWorld = import_module(_MODULES[name]).WORLD
    return world


def training_world_of(task_ids: Iterable[str]) -> TrainingWorld:
    """The world of these task types, at least one and all of the same world. Raises InvalidInput."""
    return training_world(world_of_task(next(iter(task_ids))).name)


def find_task(task_id: str) -> TaskType:
    """The task type of this id, in any world. Raises InvalidInput."""
    return world_of_task(task_id).find_task(task_id)


def in_order(task_ids: Iterable[str]) -> list[TaskType]:
    """The task types of these ids, all of one world, in its order. Raises InvalidInput for an unknown one."""
    wanted = set(task_ids)
    if not wanted:
        return []
    world = world_of_task(next(iter(wanted)))
    for task_id in wanted:
        world.find_task(task_id)
    return [task for task in world.tasks if task.id in wanted]
