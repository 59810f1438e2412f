"""What a sub-goal means in play: its action, when it is reached or over, and whether it is in sight."""

from __future__ import annotations

import re
from collections.abc import Sequence

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.scene import OTHER_AGES, OTHER_THINGS, holds, room_of

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


_COUNTED = re.compile(r"wait1?\((\d{1,3})\)")
_MOST_ACTIONS = {"monitor_temperature": 64}
_MOST_ACTIONS_OF_OTHERS = 12


def most_actions(subgoal: str) -> int:
    """The most actions of a sub-goal: those that it counts, else a few more than any took on an oracle path.

    There, watching a thermometer took up to 61 (and more with other looks between), everything else at most 10.
    """
    counted = _COUNTED.fullmatch(subgoal)
    return int(counted.group(1)) if counted else _MOST_ACTIONS.get(subgoal.partition("(")[0], _MOST_ACTIONS_OF_OTHERS)


_MATTER = r"(solid |liquid |)"
_WATCHED = re.compile(rf"^monitor_temperature\({_MATTER}(.+), \w+\)$")
_READ = re.compile(rf"use thermometer on {_MATTER}(.+)")


def is_over(state: AgentState) -> bool:
    """Whether the current sub-goal, if it has not ended, has nothing more to do.

    It has had all its actions (`most_actions`), or it has watched its substance until that had changed and read it
    once more. Along the oracle paths that reading is always the last.
    """
    subgoal, since = state.current_subgoal, state.subgoal_step
    if subgoal is None or since is None:
        return False
    return state.step - since >= most_actions(subgoal) or (state.step > since and _has_changed(subgoal, state))


def _has_changed(subgoal: str, state: AgentState) -> bool:
    """Whether the last action read what the sub-goal watches under another state of matter than it names."""
    watched, read = _WATCHED.fullmatch(subgoal), _READ.fullmatch(state.turns[-1].acted)
    return bool(watched and read and read[2] == watched[2] and read[1] != watched[1])


_WORD = re.compile(r"[a-z]+|\d+")
_TITLE = re.compile(r"instructions to make [a-z ]+")
"""The title of a recipe, which names a thing that is not there yet."""
_SAID_ANYWHERE = frozenset(
    "kitchen workshop living room art studio bathroom bedroom greenhouse foundry outside hallway "
    "water melt boil freeze change and containing in on to with a".split()
)
"""Words that a sub-goal may always use: rooms, and its own grammar."""


def in_sight(subgoals: Sequence[str], state: AgentState) -> list[str]:
    """The sub-goals that name only what is here or carried. What a sub-goal waits for need not be there yet.

    Things to be handled must be listed by that very name: a frog's egg beside a young elephant is no young frog.
    99% of the sub-goals along the oracle paths are in sight (docs/log.md).
    """
    scene = _TITLE.sub("instructions", f"{state.look}\n{state.inventory}".lower())
    words = _SAID_ANYWHERE.union(_WORD.findall(scene))
    return [subgoal for subgoal in subgoals if _is_in_sight(subgoal.lower(), scene, words)]


_ANOTHER = rf"(?:{'|'.join((*OTHER_AGES, *OTHER_THINGS))})\b"
_OF_THINGS = ("focus_on", "pick_up", "move", "pour", "cool", "heat")


def _is_in_sight(subgoal: str, scene: str, words: frozenset[str]) -> bool:
    name, _, rest = subgoal.removesuffix(")").partition("(")
    if name in _OF_THINGS:
        return all(_is_listed(thing, scene) for thing in rest.split(", "))
    return name.startswith("wait") or words.issuperset(_WORD.findall(rest))


def _is_listed(thing: str, scene: str) -> bool:
    """Whether a scene lists a thing by that name: `apple seed`, `apple seed in flower pot 3`, `cup containing tea`."""
    thing = thing.removesuffix(" in inventory")
    if re.search(rf"(?<!\w){re.escape(thing)}(?!\w)(?! {_ANOTHER})", scene):
        return True
    inside, _, vessel = thing.rpartition(" in ")
    if not inside:
        vessel, _, inside = thing.partition(" containing ")
    return bool(inside) and all(holds(scene, vessel, content) for content in re.split(r", | and ", inside))


def is_reached(subgoal: str, state: AgentState) -> bool:
    """Whether nothing is left to do for a sub-goal: the agent is in that room, sees that door open, carries that thing,
    sees it where it is to be put, or has watched a block slide down that plane."""
    name, _, rest = subgoal.lower().removesuffix(")").partition("(")
    if name == "navigate_to":
        return rest == room_of(state.look)
    if name == "open":
        return f"the {rest} door is open" in state.look.lower()
    if name == "pick_up":
        carried = rf"^\s*(?:a substance called |an? )?{re.escape(rest)}\b(?! [a-z])"
        return bool(re.search(carried, state.inventory, re.MULTILINE | re.IGNORECASE))
    if name == "move":
        thing, _, place = rest.partition(", ")
        return holds(state.look, place, thing)
    return name == "time_slide" and any(turn.acted.lower() == f"look at {rest}" for turn in state.turns)
