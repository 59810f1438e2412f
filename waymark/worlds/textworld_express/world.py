"""TextWorldExpress as a plug-in: eight text games (Jansen and Côté, 2022, arXiv 2208.01174), PyPI 1.1.0.

No rules of play and no prompt aids: what an agent scores here, its models earn. The world's paper reports the speed of
the simulator and no agents' scores, so nothing is shown beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar, Final

from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState
from waymark.worlds.base import (
    Environment,
    EnvironmentLimits,
    Grammar,
    PathStep,
    Protocol,
    Segment,
    TaskType,
)
from waymark.worlds.java_world import JavaWorld
from waymark.worlds.textworld_express.actions import TextWorldExpressGrammar
from waymark.worlds.textworld_express.agent_world import TEXTWORLD_EXPRESS
from waymark.worlds.textworld_express.annotator import annotate
from waymark.worlds.textworld_express.options import check_options
from waymark.worlds.textworld_express.prompts import TextWorldPlain
from waymark.worlds.textworld_express.scene import room_of
from waymark.worlds.textworld_express.tasks import GROUPS, TASKS
from waymark.worlds.without_history import WithoutHistory

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (
        Protocol("quick", "dev", 3, 100, None, "First 3 dev seeds of each game, 100 moves"),
        Protocol("dev", "dev", 20, 100, None, "First 20 dev seeds of each game, 100 moves; for choosing models"),
        Protocol("test", "test", 100, 100, None, "First 100 test seeds of each game, 100 moves"),
    )
}


class TextWorldExpress(JavaWorld):
    """Implements `World`. Needs the extra `textworld-express` to be played."""

    name: ClassVar[str] = "textworld-express"
    title: ClassVar[str] = "TextWorldExpress"
    tasks = TASKS
    groups = GROUPS
    protocols = PROTOCOLS
    formats = (TextWorldPlain(), WithoutHistory(TextWorldPlain()))
    example_task = "coin"
    example_subgoals = ("go(north)", "put(coin, box)")
    example_actions = ("move north", "put coin in box")
    checkpoints = "textworld_express"
    waiting_action = "look around"
    packages = ("py4j", "textworld_express")
    extra = "textworld-express"

    @property
    def version(self) -> str:
        """For example `textworld-express 1.1.0`."""
        try:
            return f"{self.name} {version('textworld-express')}"
        except PackageNotFoundError:
            return f"{self.name} (not installed where the env-runner's app runs)"

    @property
    def grammar(self) -> Grammar:
        """`put coin in box` and `PUT(coin, box)`."""
        return TextWorldExpressGrammar()

    @property
    def agent(self) -> AgentWorld:
        """See `agent_world`."""
        return TEXTWORLD_EXPRESS

    def open(self, limits: EnvironmentLimits) -> Environment:
        """Start a simulator; about a second."""
        from waymark.worlds.textworld_express.environment import TextWorldExpressEnvironment

        return TextWorldExpressEnvironment(limits)

    def check_options(self, options: str, tasks: Sequence[TaskType]) -> None:
        """Options are parameters of the games, e.g. `numLocations=5`."""
        check_options(options, tasks)

    def room_of(self, look: str) -> str | None:
        """The room that a look describes."""
        return room_of(look)

    def recognises(self, state: AgentState) -> bool:
        """Its look names a room, or the task is Simon's, whose game has none."""
        return room_of(state.look) is not None or "Simon says" in state.task

    def annotate(self, task: str, steps: Sequence[PathStep]) -> list[Segment]:
        """Split a path by the rules of `subgoals`."""
        return annotate(task, steps)


WORLD = TextWorldExpress()
