"""Paths of TextWorldExpress to learn from: the simulator's own, without the steps that lead nowhere.

The simulator's gold agent searches rooms as an agent that has not seen them would, and it also walks in circles
through rooms that it knows (`move north`, `move south`, `move north`, ...). Such a circle is cut out where the agent is
back in a state that it was in (same look, same inventory) and has seen nothing new meanwhile. `look around`, `task` and
`inventory` go too, and what the game did not understand. Nothing else is changed: every first look into a room stays,
since an answer may depend on it. A game that shows no room (`simonsays`) is left alone. A path is kept only if its
replay still reaches the full score; else the gold path is kept as it was.

Further takes of a path have other names for things (`renaming`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from training.trajectories import Trajectory, Wanted
from training.worlds.gold_replay import Seen, play, record_gold
from training.worlds.textworld_express.renaming import renamed
from waymark.worlds.base import SOLVED, Environment
from waymark.worlds.textworld_express.scene import room_of

_LOOKING: Final = frozenset(("look around", "task", "inventory"))
"""Actions that show what is in the state already."""


def without_circles(actions: Sequence[str], seen: Sequence[Seen]) -> list[str]:
    """The actions without those that return to an earlier state and show nothing new.

    `seen` has one entry more than `actions`: what is seen before the first action, then after each.

    >>> here, there = Seen("You are in the pantry.", "", ""), Seen("You are in the street.", "", "")
    >>> with_coin = Seen("You are in the pantry.", "a coin", "")
    >>> path = ["move east", "move west", "move east", "move west", "take coin"]
    >>> without_circles(path, [here, there, here, there, here, with_coin])
    ['move east', 'move west', 'take coin']
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
        if room_of(after.look) and earlier is not None:
            del path[earlier:], states[earlier + 1 :], known[earlier + 1 :]
    return path


def record(environment: Environment, wanted: Wanted) -> list[Trajectory]:
    """The path of one variation, some milliseconds, and as many takes with other names as are wanted."""
    gold = environment.gold_path(wanted.task_id, wanted.variation, wanted.simplifications)
    chosen = [action for action in gold if action not in _LOOKING]
    played, seen = play(environment, wanted, chosen)
    path, _ = play(environment, wanted, without_circles([step.action for step in played.steps], seen))
    path = replace(path, form="shortened") if path.score >= SOLVED else record_gold(environment, wanted)[0]
    path = replace(path, gold_actions=len(gold))
    takes = (renamed(path, take) for take in range(1, wanted.takes + 1))
    return [path, *(take for take in takes if take is not None)]
