"""The worlds that there are, by name. A world is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waymark.errors import CheckpointError, InvalidInput
from waymark.worlds.base import PromptFormat

if TYPE_CHECKING:
    from waymark.agent.world_port import AgentWorld

DEFAULT_WORLD: Final = "scienceworld"


def agent_world(name: str = DEFAULT_WORLD) -> AgentWorld:
    """What the agent needs to know of the world of that name. Raises InvalidInput (field `world`)."""
    from waymark.worlds.scienceworld.agent_world import SCIENCEWORLD

    worlds = {world.name: world for world in (SCIENCEWORLD,)}
    if name not in worlds:
        raise InvalidInput(f"Unknown world {name!r}.", remedy=f"Worlds are {', '.join(worlds)}.", field="world")
    return worlds[name]


def get_format(name: str) -> PromptFormat:
    """The prompt format of that name. Raises CheckpointError that lists the known ones."""
    from waymark.worlds.scienceworld.prompts import FORMATS

    formats = {known.name: known for known in FORMATS}
    if name not in formats:
        raise CheckpointError(
            f"Unknown prompt format {name!r}.",
            remedy=f"This version knows {', '.join(formats)}; the checkpoint was made for another version.",
        )
    return formats[name]
