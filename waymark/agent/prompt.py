"""What a model reads for a state, and what it learns to write."""

from __future__ import annotations

from waymark.agent.state import StateFold
from waymark.contracts import AgentState, Role
from waymark.worlds.base import ExplainingFormat, PromptFormat


def write_prompt(prompt_format: PromptFormat, role: Role, state: AgentState) -> str:
    """What a model reads for a state: the format's prompt of the last `history_turns` turns.

    Serving and training both call this, so a caller who sends more turns than `/info` asks for gets the same prompt.
    """
    return prompt_format.render(role, StateFold(state).visible(prompt_format.history_turns))


def write_target(prompt_format: PromptFormat, role: Role, state: AgentState, decision: str | None) -> str:
    """What a model learns to write for a decision in a state, cut as `write_prompt` cuts it."""
    # A protocol's own check takes as long as a short prompt; few formats explain.
    if hasattr(prompt_format, "explain") and isinstance(prompt_format, ExplainingFormat):
        return prompt_format.explain(role, StateFold(state).visible(prompt_format.history_turns), decision)
    return prompt_format.target(role, decision)
