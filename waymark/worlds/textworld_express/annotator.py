"""The rule annotator of TextWorldExpress: what each stretch of an oracle path is for.

A path is cut after each action that achieves something: taking, putting, reading, cutting, cooking, eating, what Simon
says, and entering a room. What only prepares the next such action belongs to it: opening the door that it goes
through or the thing that it puts something into, and taking what it puts, reads or cuts.

    read(math problem)    take math problem, read math problem
    go(north)             open door to north, move north
    put(beret, hat rack)  take beret, open hat rack, put beret in hat rack
    open(fridge)          to see what is in it

What is left at the end of a path belongs to the last sub-goal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waymark.errors import UnparsableAction
from waymark.worlds.base import COMPLETE, PathStep, Segment
from waymark.worlds.textworld_express.actions import Action, parse

_LOOKING: Final = frozenset(("LOOK_AROUND", "INVENTORY", "TASK"))
"""Actions that show nothing new."""
_GOES: Final = "go"


def annotate(task: str, steps: Sequence[PathStep]) -> list[Segment]:
    """Sub-goals that cover the path without gaps; `complete_task()` follows as an empty segment."""
    obeys = "Simon says" in task
    actions = [_parsed(step.action) for step in steps]
    segments: list[Segment] = []
    start = 0
    for at, step in enumerate(steps):
        if step.perturbation:
            segments.append(Segment(f"undo({step.action})", start, at + 1))
        elif obeys or _achieves(actions, at):
            segments.append(Segment(_named(actions[at], step.action), start, at + 1))
        else:
            continue
        start = at + 1
    if start < len(steps):
        if segments:
            last = segments.pop()
            segments.append(Segment(last.subgoal, last.start, len(steps)))
        else:
            segments.append(Segment("look_around()", 0, len(steps)))
    return [*segments, Segment(COMPLETE, len(steps), len(steps))]


def _achieves(actions: Sequence[Action | None], at: int) -> bool:
    """Whether a sub-goal ends with this action: it does not only prepare the next one."""
    action = actions[at]
    if action is None or action.name in _LOOKING:
        return False
    following, after_it = (*actions[at + 1 : at + 3], None, None)[:2]
    if following is None or not following.arguments:
        return True
    if action.name == "OPEN_DOOR":
        return (following.name, following.arguments) != ("MOVE", action.arguments)
    if action.name == "OPEN":
        return following.name != "PUT" or following.arguments[1] != action.arguments[0]
    if action.name == "TAKE":
        if following.name == "OPEN" and after_it is not None and after_it.name == "PUT":
            return after_it.arguments != (action.arguments[0], following.arguments[0])
        return following.name == "TAKE" or following.arguments[0] != action.arguments[0]
    return True


def _parsed(action: str) -> Action | None:
    try:
        return parse(action)
    except UnparsableAction:
        return None


def _named(action: Action | None, text: str) -> str:
    """The sub-goal that an action reaches; what the grammar does not know (Simon says) keeps its words."""
    if action is None:
        return f"{text.replace(' ', '_')}()"
    verb = _GOES if action.name == "MOVE" else action.name.lower()
    return f"{verb}({', '.join(action.arguments)})"
