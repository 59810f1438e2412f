"""Sub-goals drawn by lot, the publication's two controls: does it matter which sub-goals an executor is given?

`random` draws from all sub-goals of the training data, which ship as `training.txt` (a sub-goal a line, each once).
`semi_random` keeps what the controller means to do and draws what to do it with. Both draw with a generator that the
episode's seed begins, so an episode played again meets the same sub-goals.
"""

from __future__ import annotations

import random
import re
from functools import cache
from importlib.resources import files

from waymark.agent.state import canonical
from waymark.agent.subgoal_sources import SubgoalSource
from waymark.contracts import AgentState

TRAINING_SUBGOALS = "training_subgoals.txt"
"""Beside this module; `python -m training subgoals` writes it."""
_CALL = re.compile(r"\A(\w+)\((.+)\)")
_DOOR = re.compile(r"(?<![a-z ])([a-z ]+) \(", re.IGNORECASE)
_TO = re.compile(r"door to the (?=.)", re.IGNORECASE)
_KEPT = frozenset(("melt", "boil", "freeze", "change"))
"""Arguments that name no thing: what to watch a substance for. Neither do numbers."""
_THING = re.compile(r"(?<!reading )\b(?:a substance called|an?) (?!substance called)([a-z0-9 ]+)", re.IGNORECASE)


class RandomSource:
    """Implements `SubgoalSource` without looking at the state."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def next(self, state: AgentState) -> str | None:  # noqa: ARG002 - whatever the state is
        """Any sub-goal of the training data, each as likely as any other."""
        return self._chance.choice(training_subgoals())


class SemiRandomSource:
    """Implements `SubgoalSource` over the controller's."""

    def __init__(self, controller: SubgoalSource, chance: random.Random) -> None:
        self._controller = controller
        self._chance = chance

    async def next(self, state: AgentState) -> str | None:
        """The controller's sub-goal with other arguments."""
        chosen = await self._controller.next(state)
        return None if chosen is None else redrawn(chosen, state, self._chance)


@cache
def training_subgoals() -> tuple[str, ...]:
    """Every sub-goal of the training variations, each once, `complete_task()` aside."""
    text = files("waymark.worlds.scienceworld").joinpath(TRAINING_SUBGOALS).read_text(encoding="utf-8")
    return tuple(text.splitlines())


def redrawn(subgoal: str, state: AgentState, chance: random.Random) -> str:
    """A sub-goal with each argument replaced by something in sight: where to go by a room, all else by a thing.

    Where nothing is in sight, an argument stays.
    """
    call = _CALL.fullmatch(subgoal)
    if call is None:
        return subgoal
    verb, arguments = call.groups()
    choices = visible_rooms(state) if verb == "navigate_to" else visible_things(state)

    def other(argument: str) -> str:
        kept = argument.isdigit() or argument in _KEPT
        return argument if kept else chance.choice(choices or [argument])

    return f"{verb}({', '.join(map(other, arguments.split(', ')))})"


def visible_rooms(state: AgentState) -> list[str]:
    """Rooms that the agent has been to, the one that it is in included, and those that a door leads to."""
    doors = (words[to.end() :] for words in _DOOR.findall(state.look) if (to := _TO.search(words)))
    return list(dict.fromkeys([*state.visited_rooms, *map(canonical, doors)]))


def visible_things(state: AgentState) -> list[str]:
    """The names of what look and inventory list, each once, in order.

    >>> visible_things(AgentState(task="t", look="you see: \\n\\ta table. On the table is: a cup (containing water)."))
    ['table', 'cup']
    """
    names = (name.strip().lower() for text in (state.look, state.inventory) for name in _THING.findall(text))
    return list(dict.fromkeys(name for name in names if not name.startswith("door to ") and name != "air"))
