"""The rule annotator of TextWorldExpress: what each stretch of an oracle path is for.

A path is cut after each action that achieves something (taking, putting, reading, cutting, cooking, eating, what Simon
says). The steps before it (looking around, walking, opening, closing) belong to the same sub-goal, since they are
how the thing is found: `take(coin)`, `put(beret, hat rack)`, `read(map)`, `cook(banana, oven)`. What is left at the end
of a path that achieves nothing more belongs to the last sub-goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waymark.errors import UnparsableAction
from waymark.worlds.base import COMPLETE, PathStep, Segment
from waymark.worlds.textworld_express.actions import parse

_ON_THE_WAY: Final = frozenset(
    ("LOOK_AROUND", "INVENTORY", "TASK", "MOVE", "OPEN", "CLOSE", "OPEN_DOOR", "CLOSE_DOOR", "EXAMINE")
)
"""Actions that only lead to another one."""
_SAID: Final = "Simon says"


def annotate(task: str, steps: Sequence[PathStep]) -> list[Segment]:
    """Sub-goals that cover the path without gaps; `complete_task()` follows as an empty segment."""
    obeys = "Simon says" in task
    segments: list[Segment] = []
    start = 0
    for at, step in enumerate(steps):
        subgoal = _achieves(step.action, everything=obeys)
        if step.perturbation or subgoal is not None:
            segments.append(Segment(subgoal or f"undo({step.action})", start, at + 1))
            start = at + 1
    if start < len(steps):
        if segments:
            last = segments.pop()
            segments.append(Segment(last.subgoal, last.start, len(steps)))
        else:
            segments.append(Segment("look_around()", 0, len(steps)))
    return [*segments, Segment(COMPLETE, len(steps), len(steps))]


def _achieves(action: str, *, everything: bool) -> str | None:
    """The sub-goal that an action reaches; None when it is only on the way."""
    try:
        parsed = parse(action)
    except UnparsableAction:
        return None
    if parsed.name in _ON_THE_WAY and not everything:
        return None
    return f"{parsed.name.lower()}({', '.join(parsed.arguments)})"
