"""Answers as the services give them, made of their alternatives: the first one is what the model has decided."""

from __future__ import annotations

from typing import Any

from tests.samples import TIMING, USAGE
from waymark.contracts import ActionAlternative, ActionResponse, SubgoalAlternative, SubgoalResponse

_SHARED: dict[str, Any] = {"model": "default", "usage": USAGE, "timing_ms": TIMING}


def subgoal_answer(*alternatives: SubgoalAlternative, **fields: Any) -> SubgoalResponse:
    """A controller's answer; `fields` are others of the response."""
    best = alternatives[0]
    decided = {"subgoal": best.subgoal, "parsed": best.parsed, "raw": best.raw}
    return SubgoalResponse(**(_SHARED | decided | fields), alternatives=alternatives)


def action_answer(*alternatives: ActionAlternative, **fields: Any) -> ActionResponse:
    """An executor's answer; `fields` are others of the response."""
    best = alternatives[0]
    decided = {"action": best.action, "ended_subgoal": best.ended_subgoal, "parsed": best.parsed, "raw": best.raw}
    return ActionResponse(**(_SHARED | decided | fields), alternatives=alternatives)
