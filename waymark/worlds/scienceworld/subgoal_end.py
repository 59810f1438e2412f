"""When a sub-goal has nothing more to do: it has had all its actions, or has seen what it waited for."""

from __future__ import annotations

import re

from waymark.contracts import AgentState

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
