"""ScienceWorld's rules of play: its own and the generic ones, in the order in which they are applied."""

from __future__ import annotations

from typing import Final

from waymark.agent.rules import (
    AskAgain,
    Circles,
    NoEarlyComplete,
    NoRepeatAction,
    NoRepeatSubgoal,
    Rule,
    Stuck,
    UnknownEndsSubgoal,
    WellFormed,
)
from waymark.worlds.scienceworld.rules.replacement_rules import (
    HoldToSubgoal,
    RepairAlternatives,
    RepairShortlist,
    RepairSimilarity,
    RepairSubgoal,
)
from waymark.worlds.scienceworld.rules.subgoal_rules import InSight, Reached, Risk, SubgoalOver

RULES: Final[tuple[type[Rule], ...]] = (
    Risk,
    WellFormed,
    Reached,
    InSight,
    NoEarlyComplete,
    NoRepeatSubgoal,
    Circles,
    SubgoalOver,
    UnknownEndsSubgoal,
    NoRepeatAction,
    Stuck,
    AskAgain,
    HoldToSubgoal,
    RepairSubgoal,
    RepairAlternatives,
    RepairShortlist,
    RepairSimilarity,
)
"""All rules of play, in the order in which they are applied."""
