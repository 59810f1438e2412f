"""When an answer risks the score: a wrong focus, or the wrong one of several boxes, ends an episode at -100."""

from __future__ import annotations

import math
import re

from waymark.contracts import AgentState
from waymark.worlds.base import SOLVED

BOX = re.compile(r"\b[a-z]+ box\b")
"""A box as tasks, scenes and actions name it."""
_FOCUS = ("focus_on(", "focus on ")
_INTO_BOX = re.compile(r"\Amove[( ].* box\)?")
_ASKS_DEGREES, _READS_DEGREES = "degrees celsius", "use thermometer on "


def is_confident_enough(decision: str, logprob: float, state: AgentState) -> bool:
    """Whether a sub-goal or an action may be followed: it risks nothing, or it is likely enough for what it risks.

    `logprob` is the model's, in nats. It is likely enough if its probability, times 100 points, is at least the present
    score. A box for a temperature is never likely enough before a temperature was read.
    """
    answers = _INTO_BOX.fullmatch(decision) and len(set(BOX.findall(state.task))) > 1
    risky = answers or decision.startswith(_FOCUS)
    if risky and BOX.search(decision) and _is_unread(state):
        return False
    return not risky or math.exp(min(0.0, logprob)) * SOLVED >= state.score


def _is_unread(state: AgentState) -> bool:
    """Whether a task asks for a temperature, and none was read yet."""
    return _ASKS_DEGREES in state.task and not any(turn.acted.startswith(_READS_DEGREES) for turn in state.turns)
