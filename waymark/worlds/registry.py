"""All worlds by name. A world is imported at its first use. No other module imports a world."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal

from waymark.errors import CheckpointError, InvalidInput
from waymark.worlds.base import PromptFormat, World

if TYPE_CHECKING:
    from waymark.agent.world_port import AgentWorld

WorldName = Literal["scienceworld", "scripted", "textworld-express"]
_MODULES: Final[dict[str, str]] = {
    "scienceworld": "waymark.worlds.scienceworld.world",
    "scripted": "waymark.worlds.scripted.world",
    "textworld-express": "waymark.worlds.textworld_express.world",
}
DEFAULT_WORLD: Final[WorldName] = "scienceworld"
WORLD_NAMES: Final = tuple(_MODULES)


_worlds: dict[str, World] = {}
"""The worlds that were used so far."""


def get_world(name: str) -> World:
    """The world with this name. Raises InvalidInput (field `world`) that lists the known ones."""
    if name not in _MODULES:
        raise InvalidInput(
            f"Unknown world {name[:100]!r}.", remedy=f"Worlds are {', '.join(WORLD_NAMES)}.", field="world"
        )
    if name not in _worlds:
        _worlds[name] = import_module(_MODULES[name]).WORLD
    return _worlds[name]


def agent_world(name: str = DEFAULT_WORLD) -> AgentWorld:
    """The agent's port to the world with this name. Raises InvalidInput (field `world`)."""
    return get_world(name).agent


def world_of_task(task_id: str) -> World:
    """The world that has a task type of that id; the scripted world's are ScienceWorld's. Raises InvalidInput."""
    worlds = _worlds_by_task()
    if task_id not in worlds:
        raise InvalidInput(
            f"No world has a task type {task_id[:100]!r}.",
            remedy=f"Worlds are {', '.join(WORLD_NAMES)}.",
            field="tasks",
        )
    return worlds[task_id]


def world_of_format(name: str) -> World:
    """The world whose states a prompt format writes. Raises CheckpointError for an unknown one."""
    get_format(name)
    return _worlds_by_format()[name]


@cache
def _worlds_by_task() -> dict[str, World]:
    worlds: dict[str, World] = {}
    for world in map(get_world, WORLD_NAMES):
        for task in world.tasks:
            worlds.setdefault(task.id, world)
    return worlds


@cache
def _worlds_by_format() -> dict[str, World]:
    return {form.name: world for world in map(get_world, WORLD_NAMES) for form in world.formats}


def world_of(environment: str) -> World:
    """The world that a result names with its version, e.g. `scienceworld 1.2.3`. Raises InvalidInput."""
    return get_world(environment.partition(" ")[0])


@cache
def _formats() -> dict[str, PromptFormat]:
    return {prompt_format.name: prompt_format for name in WORLD_NAMES for prompt_format in get_world(name).formats}


def get_format(name: str) -> PromptFormat:
    """The prompt format with this name, of any world. Raises CheckpointError that lists the known ones."""
    formats = _formats()
    if name not in formats:
        raise CheckpointError(
            f"Unknown prompt format {name!r}.",
            remedy=f"This version knows {', '.join(formats)}; the checkpoint was made for another version.",
        )
    return formats[name]
