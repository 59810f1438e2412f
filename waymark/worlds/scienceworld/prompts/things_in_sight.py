"""The things that an agent sees and carries, as a prompt lists them; things that the task names come first."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

from waymark.byte_cache import ByteCache
from waymark.contracts import AgentState
from waymark.worlds.scienceworld.prompts.text_limits import CACHE_BYTES, HISTORY
from waymark.worlds.scienceworld.prompts.text_normalisation import plain
from waymark.worlds.scienceworld.scene import OTHER_THINGS, room_of

_INGREDIENTS = 16
_RECIPE_CHARACTERS = 2_000
_NAMED = 6
_ANOTHER = tuple(f"{word} " for word in OTHER_THINGS)
_FURNITURE = ("table", "counter", "desk", "chair", "couch", "bed", "cupboard", "large cupboard", "closet")
_NOWHERE = ("", *_FURNITURE)
"""Furniture whose things count as lying in the room itself."""
_NOISE = {"agent", "air", "ground"}
_RECIPE = re.compile(r"need to mix (.+)")
# A thing in plain, and the mark before it that says what it lies in.
_PART = re.compile(r"(?:(^|[(),]|\bholds\b) ?)((?:(?! holds |[(),]).)*)")
_MARK = re.compile(r" , |[()]")
_SWITCHED = re.compile(r"(?:^| )(?:(?:which|that) is )?(?:open|closed|on|off|activated|deactivated)\b(?s:.*)")
_STATE = re.compile(
    r"^(?:(?:solid|liquid|gaseous|hatchling|baby|juvenile|adult) )+|(?: egg| seed| in [a-z]+ stage(?s:.*))\Z"
)


def visited_rooms(state: AgentState) -> str:
    """Every room that was visited."""
    return "seen " + " , ".join(room.lower() for room in state.visited_rooms)


def scene(state: AgentState) -> list[str]:
    """The room and the inventory."""
    return _scene(state, _lines(state.look))


def _scene(state: AgentState, things: Sequence[str]) -> list[str]:
    room, carried = room_of(state.look) or "", _lines(state.inventory)
    return [f"room {room} : {' , '.join(things)}", f"have {' , '.join(carried)}"]


def _lines(text: str) -> list[str]:
    """The lines of a look or an inventory, normalised; open doors are left out, closed ones kept."""
    _, opened, rest = text.partition("you see:")
    lines = re.split(r"\n|You also see:", rest) if opened else text.splitlines()[1:]
    things = []
    for line in lines:
        if line.strip().lower().startswith("a door to") and "open" in line:
            continue
        thing = plain(line).strip(" ,:")
        if thing and thing not in _NOISE:
            things.append(thing)
    return things


def scene_by_relevance(state: AgentState, instruction: str) -> list[str]:
    """The things in sight that an instruction or a recipe names, each with its container: `here lead in metal pot`.
    Then the scene, in which these things come first in the room and are taken off the furniture.

    Small models overlook the things of the task among twenty others, above all in places where they never were in
    training.
    """
    named = _named(state, instruction)
    here = [f"{name} in {holder}" if holder not in _NOWHERE else name for name, holder in named]
    lying = {name for name, holder in named if holder in _NOWHERE}
    first: list[str] = []
    others: list[str] = []
    for line in _lines(state.look):
        furniture, holds, rest = line.partition(" holds ")
        things = _split(rest) if holds and _SWITCHED.sub("", furniture) in _FURNITURE else []
        taken = [thing for thing in things if thing in lying]
        if not taken:
            named_itself = any(name in lying for name, _ in _things_in_line(line)[:1])
            (first if named_itself else others).append(line)
            continue
        first += taken
        left = [thing for thing in things if thing not in lying]
        others.append(f"{furniture} holds {' , '.join(left)}" if left else furniture)
    return ["here " + (" , ".join(list(dict.fromkeys(here))[:_NAMED]) or "nothing"), *_scene(state, [*first, *others])]


def _split(text: str) -> list[str]:
    """Split at commas, but not inside parentheses, which list the content of a thing."""
    marks = [(match.start(), match.group()) for match in _MARK.finditer(text)]
    places, after = [], ""
    for place, mark in reversed(marks):
        if mark != " , ":
            after = mark
        elif after != ")":
            places.append(place)
    bounds = [-len(" , "), *reversed(places), len(text)]
    return [text[begin + len(" , ") : end] for begin, end in pairwise(bounds)]


def _named(state: AgentState, instruction: str) -> list[tuple[str, str]]:
    """The things that are named and in sight, with their containers."""
    ingredients = _ingredients(state)
    return [
        (name, holder)
        for name, holder in [*listed(state.look), *listed(state.inventory)]
        if _is_mentioned(name, instruction) or any(_is_ingredient(name, ingredient) for ingredient in ingredients)
    ]


def _is_mentioned(name: str, text: str) -> bool:
    """Whether a text names a thing, in any state of matter or at any age; an orange box is not an orange."""
    called = _STATE.sub("", name)
    if called not in text:
        return False
    after = f"{text} ".split(f" {called} ")[1:] if called else []
    return any(not rest.startswith(_ANOTHER) for rest in after)


def _is_ingredient(name: str, ingredient: str) -> bool:
    """Whether a thing is an ingredient that a recipe asks for; a red apple is an apple."""
    return f" {name}".endswith(f" {ingredient}") and not name.startswith("recipe ")


def _ingredients(state: AgentState) -> list[str]:
    """The ingredients of the recipe that was read last."""
    turns = reversed(state.turns[-HISTORY:])
    instructions = next((turn.observation for turn in turns if turn.acted.lower().startswith("read ")), "")
    recipe = _RECIPE.search(plain(instructions[:_RECIPE_CHARACTERS]))
    return recipe[1].split(" , ")[:_INGREDIENTS] if recipe else []


def listed(text: str) -> Iterator[tuple[str, str]]:
    """The things of a look or an inventory, in order, each with its container; empty for a thing in the room itself."""
    for line in _lines(text):
        yield from _things_in_line(line)


def _things_of(line: str) -> tuple[tuple[str, str], ...]:
    listed: list[tuple[str, str]] = []
    within: list[tuple[str, str]] = []
    for mark, part in _PART.findall(line):
        while mark == ")" and within and within.pop()[0] != "(":
            pass
        if mark in ("(", "holds") and listed:
            within.append((mark, listed[-1][0]))
        if name := _SWITCHED.sub("", part.strip()):
            listed.append((name, within[-1][1] if within else ""))
    return tuple(listed)


def _bytes_of(listed: tuple[tuple[str, str], ...]) -> int:
    return sum(sys.getsizeof(pair) + sum(map(sys.getsizeof, pair)) for pair in listed)


_things_in_line = ByteCache(_things_of, CACHE_BYTES, _bytes_of)
