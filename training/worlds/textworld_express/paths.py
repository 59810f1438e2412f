"""Paths of TextWorldExpress to learn from: the simulator's own, without the steps that lead nowhere.

The simulator's gold agent searches rooms as an agent that has not seen them would, and it also walks in circles
through rooms that it knows (`move north`, `move south`, `move north`, ...). Such a circle is cut out where the agent is
back in a state that it was in (same look, same inventory) and has seen nothing new meanwhile. Nothing else is changed:
every first look into a room stays, since an answer may depend on it. A game that
shows no room (`simonsays`) is left alone. A path is kept only if its replay still
reaches the full score; else the gold path is kept as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent sees after a step (or at the start)."""

    look: str
    inventory: str
    observation: str


def without_circles(actions: Sequence[str], seen: Sequence[Seen]) -> list[str]:
    """The actions without those that return to an earlier state and show nothing new.

    `seen` has one entry more than `actions`: what is seen before the first action, then after each.

    >>> room, other = Seen("a", "", ""), Seen("b", "", "")
    >>> without_circles(["go b", "go a", "go b", "go a", "take"], [room, other, room, other, room, Seen("a", "coin",
    "")])
    ['go b', 'go a', 'take']
    """
    path: list[str] = []
    states: list[tuple[str, str]] = [(seen[0].look, seen[0].inventory)]
    """State before each action of the path, and the current one last."""
    known: list[int] = [1]
    """How many different texts had been seen at each of these states."""
    texts: set[str] = {seen[0].look, seen[0].observation}
    for action, after in zip(actions, seen[1:], strict=True):
        texts |= {after.look, after.observation}
        path.append(action)
        states.append((after.look, after.inventory))
        known.append(len(texts))
        same = (at for at in range(len(states) - 1) if states[at] == states[-1] and known[at] == known[-1])
        earlier = next(same, None)
        if after.look and earlier is not None:
            del path[earlier:], states[earlier + 1 :], known[earlier + 1 :]
    return path
