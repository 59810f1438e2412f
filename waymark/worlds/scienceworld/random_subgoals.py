"""Sub-goals with other arguments, for the published controls `random` and `semi_random`."""

from __future__ import annotations

import random
import re
from functools import cache
from importlib.resources import files

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.scene import canonical

TRAINING_SUBGOALS = "training_subgoals.txt"
"""Beside this module; `python -m training subgoals` writes it."""
_CALL = re.compile(r"\A(\w+)\((.+)\)")
_DOOR = re.compile(r"(?<![a-z ])([a-z ]+) \(", re.IGNORECASE)
_TO = re.compile(r"door to the (?=.)", re.IGNORECASE)
_KEPT = frozenset(("melt", "boil", "freeze", "change"))
"""Arguments that name no thing: what to watch a substance for. Numbers name none either."""
_THING = re.compile(r"(?<!reading )\b(?:a substance called|an?) (?!substance called)([a-z0-9 ]+)", re.IGNORECASE)


@cache
def training_subgoals() -> tuple[str, ...]:
    """Every distinct sub-goal of the training variations, without `complete_task()`."""
    text = files(__package__).joinpath(TRAINING_SUBGOALS).read_text(encoding="utf-8")
    return tuple(text.splitlines())


def with_random_arguments(subgoal: str, state: AgentState, rng: random.Random) -> str:
    """A sub-goal with each argument replaced by something in sight: rooms to go to by a room, all else by a thing.

    An argument stays where nothing is in sight.
    """
    call = _CALL.fullmatch(subgoal)
    if call is None:
        return subgoal
    verb, arguments = call.groups()
    choices = visible_rooms(state) if verb == "navigate_to" else visible_things(state)

    def other(argument: str) -> str:
        kept = argument.isdigit() or argument in _KEPT
        return argument if kept else rng.choice(choices or [argument])

    return f"{verb}({', '.join(map(other, arguments.split(', ')))})"


def visible_rooms(state: AgentState) -> list[str]:
    """The rooms that the agent has been in, the current one included, and those that a door leads to."""
    doors = (words[to.end() :] for words in _DOOR.findall(state.look) if (to := _TO.search(words)))
    return list(dict.fromkeys([*state.visited_rooms, *map(canonical, doors)]))


def visible_things(state: AgentState) -> list[str]:
    """The distinct names that look and inventory list, in order.

    >>> visible_things(AgentState(task="t", look="you see: \\n\\ta table. On the table is: a cup (containing water)."))
    ['table', 'cup']
    """
    names = (name.strip().lower() for text in (state.look, state.inventory) for name in _THING.findall(text))
    return list(dict.fromkeys(name for name in names if not name.startswith("door to ") and name != "air"))
