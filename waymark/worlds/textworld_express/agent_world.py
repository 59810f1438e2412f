"""TextWorldExpress as the agent sees it: no rules of play, so that what an agent scores is earned by its models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waymark.agent.rules import Rule
from waymark.agent.world_port import AgentWorld
from waymark.worlds.base import PathStep
from waymark.worlds.textworld_express.annotator import annotate
from waymark.worlds.textworld_express.scene import room_of


class TextWorldExpressForAgents(AgentWorld):
    """Implements `AgentWorld`."""

    name = "textworld-express"
    waiting_action = "look around"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """None."""
        return ()

    def room_of(self, look: str) -> str | None:
        """See `scene.room_of`."""
        return room_of(look)

    def annotated(self, task: str, path: Sequence[tuple[str, str]]) -> list[str]:
        """See `annotator.annotate`."""
        steps = [PathStep(action, observation) for action, observation in path]
        return [segment.subgoal for segment in annotate(task, steps)]


TEXTWORLD_EXPRESS: Final = TextWorldExpressForAgents()
