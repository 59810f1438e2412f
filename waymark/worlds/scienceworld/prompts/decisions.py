"""Writes decisions in prompts and targets, and parses them.

A sub-goal `move(apple, red box)` is written `move apple , red box`, an action is the environment's own string, and the
end of a sub-goal is `end`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld.prompts.text_normalisation import apart
from waymark.worlds.subgoal_words import subgoal_of_words

_END = "end"
_SUBGOALS = 12
_HYPHEN_APART = re.compile(r"(?<=[a-z]) - (?=[a-z])")


class Decisions:
    """Writes and parses decisions, in the same way in all of our own formats."""

    def target(self, role: Role, decision: str | None) -> str:
        """The model's output for a decision."""
        if decision is None:
            return _END
        return apart(words_of_subgoal(decision) if role in ("controller", "first") else decision.lower())

    def parse(self, role: Role, text: str) -> str | None:
        """The inverse of `target`, in lower case."""
        words = _HYPHEN_APART.sub("-", " ".join(text.split()))
        if not words:
            raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
        if role in ("controller", "first"):
            return subgoal_of_words(words)
        return None if words == _END else words


def words_of_subgoal(subgoal: str) -> str:
    """`move(apple, red box)` -> `move apple , red box`. The inverse of `subgoal_of_words`."""
    verb, _, rest = subgoal.lower().partition("(")
    arguments = rest.removesuffix(")").split(", ") if rest.removesuffix(")") else []
    return " ".join([verb, " , ".join(arguments)]).strip()


def subgoals(state: AgentState) -> str:
    """The sub-goals so far, the current one last."""
    all_given = [*state.completed_subgoals, *([state.current_subgoal] if state.current_subgoal else [])]
    return "gave " + " ; ".join(words_of_subgoal(subgoal) for subgoal in all_given[-_SUBGOALS:]) if all_given else ""


def actions(heading: str, turns: Sequence[Turn], most: int) -> str:
    """The last actions, at most `most`."""
    recent = turns[max(0, len(turns) - most) :]
    return f"{heading} " + " ; ".join(turn.acted.lower() for turn in recent) if recent else ""


def turns_of_subgoal(state: AgentState) -> Sequence[Turn]:
    """The turns since the current sub-goal was given; all turns if that is not known."""
    if state.subgoal_step is None:
        return state.turns
    return state.turns[max(0, len(state.turns) - max(0, state.step - state.subgoal_step)) :]
