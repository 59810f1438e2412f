"""A model's prompt for a state, and its training target."""

from __future__ import annotations

from waymark.agent.state import StateFold
from waymark.contracts import AgentState, Role
from waymark.worlds.base import ExplainingFormat, PromptFormat


def write_prompt(prompt_format: PromptFormat, role: Role, state: AgentState) -> str:
    """The prompt for a state: rendered by the format from the last `history_turns` turns.

    Serving and training both call this, so a caller who sends more turns than `/info` asks for gets the same prompt.
    """
    return prompt_format.render(role, StateFold(state).visible(prompt_format.history_turns))


def write_target(prompt_format: PromptFormat, role: Role, state: AgentState, decision: str | None) -> str:
    """The training target for a decision in a state, which is cut as in `write_prompt`."""
    # A protocol's own check takes as long as a short prompt; few formats explain.
    if hasattr(prompt_format, "explain") and isinstance(prompt_format, ExplainingFormat):
        return prompt_format.explain(role, StateFold(state).visible(prompt_format.history_turns), decision)
    return prompt_format.target(role, decision)
