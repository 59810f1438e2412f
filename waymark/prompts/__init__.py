"""Prompt formats: how a state becomes the text that a model reads, and how its text becomes a decision.

A format is a value: a checkpoint's card names one, and the service that loads the card renders with it.
One module a format; `render` and `target` stand side by side because training calls both and serving calls
the first, and `parse` is the inverse of `target`.
"""

from __future__ import annotations

from typing import Protocol

from waymark.contracts import AgentState, Role
from waymark.errors import CheckpointError
from waymark.state import StateFold


class PromptFormat(Protocol):
    """One way of writing states and decisions."""

    @property
    def name(self) -> str:
        """What cards call it."""
        ...

    @property
    def history_turns(self) -> int:
        """How many of the last turns a prompt shows; more need not be sent."""
        ...

    def render(self, role: Role, state: AgentState) -> str:
        """The model's input for a state."""
        ...

    def target(self, role: Role, decision: str | None) -> str:
        """The model's output for a decision: a sub-goal, an environment's action, or None (the sub-goal ended)."""
        ...

    def parse(self, role: Role, text: str) -> str | None:
        """The decision that a text stands for: the inverse of `target`.

        Raises UnparsableAction when the text stands for none.
        """
        ...


def write_prompt(prompt_format: PromptFormat, role: Role, state: AgentState) -> str:
    """What a model reads for a state: the format's prompt of the last `history_turns` turns.

    Serving and training both call this, so a caller who sends more turns than `/info` asks for gets the same prompt.
    """
    return prompt_format.render(role, StateFold(state).visible(prompt_format.history_turns))


def get_format(name: str) -> PromptFormat:
    """The format of that name. Raises CheckpointError that lists the known ones."""
    from waymark.prompts.compact import COMPACT
    from waymark.prompts.history import WithoutHistory
    from waymark.prompts.seed import SEED, SEED_IMPORTED
    from waymark.prompts.transcript import TRANSCRIPT

    whole: tuple[PromptFormat, ...] = (SEED, SEED_IMPORTED, COMPACT)
    formats = {one.name: one for one in (*whole, TRANSCRIPT, *map(WithoutHistory, whole))}
    if name not in formats:
        raise CheckpointError(
            f"Unknown prompt format {name!r}.",
            remedy=f"This version knows {', '.join(formats)}; the checkpoint was made for another version.",
        )
    return formats[name]
