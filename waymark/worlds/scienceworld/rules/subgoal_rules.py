"""Rules about sub-goals: which may be followed, and when the sub-goal under way has ended."""

from __future__ import annotations

from waymark.agent.rules import Alternative, Choice, EndRule, SubgoalRule
from waymark.contracts import AgentState
from waymark.worlds.scienceworld.subgoal_end import is_over
from waymark.worlds.scienceworld.subgoals_in_sight import in_sight


class InSight(SubgoalRule):
    """Does not follow a sub-goal about things that are neither here nor carried.

    Knows what look and inventory list. Acts when the controller's best answer names something else: it comes too early,
    or the name is misspelt. Asks for more alternatives and prefers those that name only what is in sight.
    """

    name = "in-sight"

    def doubts(self, subgoal: str, choice: Choice) -> bool:
        """It names what is not in sight."""
        return not in_sight([subgoal], choice.state)

    wants_more = doubts

    def keep(self, alternatives: list[Alternative], choice: Choice) -> list[Alternative]:
        """Those that name only what is in sight, or all if none does."""
        return [entry for entry in alternatives if in_sight([entry[0]], choice.state)] or alternatives


class SubgoalOver(EndRule):
    """Ends a sub-goal that has nothing more to do, without asking the executor.

    Knows how many actions a counted wait names, the most actions that any sub-goal took along the oracle paths, and
    what a thermometer is watched for. Acts when a sub-goal has had that many actions, or when the watched substance has
    changed and was read once more.
    """

    name = "subgoal-over"

    def is_over(self, state: AgentState) -> bool:
        """Whether the sub-goal under way has nothing more to do."""
        return is_over(state)
