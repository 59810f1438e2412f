"""The scripted world as a plug-in: ScienceWorld's tasks, texts and prompts over a small fixed environment."""

from __future__ import annotations

from typing import ClassVar

from waymark.worlds.base import Environment, EnvironmentLimits
from waymark.worlds.scienceworld.world import ScienceWorld
from waymark.worlds.scripted.environment import ScriptedEnvironment


class ScriptedWorld(ScienceWorld):
    """Implements `World` without Java: every task and variation is the same small one."""

    name: ClassVar[str] = "scripted"
    formats = ()  # ScienceWorld's own
    packages = ()
    randomness = ""

    @property
    def version(self) -> str:
        """It has none."""
        return "scripted"

    def open(self, limits: EnvironmentLimits) -> Environment:  # noqa: ARG002 - it takes next to nothing
        """Start one; microseconds."""
        return ScriptedEnvironment()

    def check_runnable(self) -> None:
        """It runs everywhere."""


WORLD = ScriptedWorld()
