"""The action that a sub-goal spells out."""

from __future__ import annotations

_SPELLED = {
    "focus_on": "focus on {}",
    "pick_up": "pick up {}",
    "drop": "put down {}",
    "open": "open {}",
    "read": "read {}",
    "mix": "mix {}",
    "activate": "activate {}",
    "navigate_to": "teleport to {}",
    "measure_temperature": "use thermometer on {}",
    "move": "move {} to {}",
    "pour": "pour {} into {}",
    "use": "use {} on {}",
}
"""Sub-goals that one action reaches, and that action."""
_MOVED = {"heat": "move {} to {}", "cool": "move {} to {}"}
"""Sub-goals that take more, and the one move among these: so it is in all of the oracle's."""


def canonical_action(subgoal: str, action: str) -> str | None:
    """The action that a sub-goal itself spells out, where `action` was proposed; None where it does not.

    >>> canonical_action("move(apple, red box)", "move apple")
    'move apple to red box'
    >>> canonical_action("heat(tin, stove)", "move tin to oven"), canonical_action("heat(tin, stove)", "activate stove")
    ('move tin to stove', None)
    """
    name, _, rest = subgoal.partition("(")
    arguments = rest.removesuffix(")").split(", ")
    form = _SPELLED.get(name) or (_MOVED.get(name) if action.startswith("move ") else None)
    return form.format(*arguments) if form and form.count("{}") == len(arguments) and all(arguments) else None
