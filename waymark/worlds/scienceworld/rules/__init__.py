"""ScienceWorld's rules of play: its own and the generic ones, in the order in which they are applied."""

from __future__ import annotations

from typing import Final

from waymark.agent.rules import NoRepeatAction, NoRepeatSubgoal, Rule, WellFormed
from waymark.worlds.scienceworld.rules.replacement_rules import RepairShortlist, RepairSimilarity
from waymark.worlds.scienceworld.rules.subgoal_rules import InSight, SubgoalOver

RULES: Final[tuple[type[Rule], ...]] = (
    WellFormed,
    InSight,
    NoRepeatSubgoal,
    SubgoalOver,
    NoRepeatAction,
    RepairShortlist,
    RepairSimilarity,
)
"""All rules of play, in the order in which they are applied."""
