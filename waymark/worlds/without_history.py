"""Formats without history: another format's prompts as if no turn had been taken, named `seed-nohistory`, ….

A variant is a format of its own, so that a checkpoint's card says how it was trained and serving renders alike.
What a turn showed goes whole, action and answer; what only sums up the past stays: step, score, rooms, sub-goals.
"""

from __future__ import annotations

from dataclasses import dataclass

from waymark.agent.state import recent
from waymark.contracts import AgentState, Role
from waymark.worlds.base import PromptFormat

_SUFFIX = "-nohistory"


@dataclass(frozen=True)
class WithoutHistory:
    """A format that shows no earlier turns of a state. The virtual first turn of `seed` is none of them."""

    shown: PromptFormat
    history_turns: int = 0

    @property
    def name(self) -> str:
        """The other format's name with `-nohistory` after it."""
        return without_history(self.shown.name)

    def render(self, role: Role, state: AgentState) -> str:
        """The other format's prompt for the state with its turns and their last answer forgotten."""
        return self.shown.render(role, recent(state, 0).model_copy(update={"observation": ""}))

    def target(self, role: Role, decision: str | None) -> str:
        """As in the other format."""
        return self.shown.target(role, decision)

    def parse(self, role: Role, text: str) -> str | None:
        """As in the other format."""
        return self.shown.parse(role, text)


def without_history(name: str) -> str:
    """The name of a format's variant without history; such a name itself stays."""
    return name if name.endswith(_SUFFIX) else name + _SUFFIX
