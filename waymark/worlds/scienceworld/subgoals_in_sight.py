"""Which sub-goals name only things that are in sight or carried."""

from __future__ import annotations

import re
from collections.abc import Sequence

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.scene import OTHER_AGES, OTHER_THINGS, holds

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
