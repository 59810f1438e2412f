"""Rules about sub-goals: which may be followed, and when the sub-goal under way has ended."""

from __future__ import annotations

from collections.abc import Collection

from waymark.agent.rules import ActionRule, Alternative, Choice, EndRule, SubgoalRule
from waymark.contracts import AgentState
from waymark.worlds.scienceworld.rules.risk import is_confident_enough
from waymark.worlds.scienceworld.subgoal_end import is_over, is_reached
from waymark.worlds.scienceworld.subgoals_in_sight import in_sight


class Risk(SubgoalRule, ActionRule):
    """Does not risk the score on an unlikely answer.

    Knows that a wrong focus, or the wrong one of several boxes, ends an episode at -100. Acts when a sub-goal, or an
    action of an agent without sub-goals, may do that and the model's probability for it, times 100, is below the
    present score, or when it names a box before the temperature that the task asks for was read. Drops the sub-goal;
    of actions, asks the executor for five and takes the first that may be taken, or waits.
    """

    name = "risk"

    def keep(self, alternatives: list[Alternative], choice: Choice) -> list[Alternative]:
        """Those that are likely enough, perhaps none."""
        return [entry for entry in alternatives if is_confident_enough(*entry, choice.state)]

    def allows(self, action: str, logprob: float | None, state: AgentState, taken: Collection[str]) -> bool:  # noqa: ARG002
        """Likely enough, or of unknown probability."""
        return logprob is None or is_confident_enough(action, logprob, state)


class Reached(SubgoalRule):
    """Does not follow a sub-goal that is reached already.

    Knows the room, the open doors, what is carried, what containers hold, and which slides were watched. Acts when the
    controller's best answer asks for what is so already. Asks for more alternatives and prefers those with something
    left to do.
    """

    name = "reached"

    def doubts(self, subgoal: str, choice: Choice) -> bool:
        """Nothing is left to do for it."""
        return is_reached(subgoal, choice.state)

    def keep(self, alternatives: list[Alternative], choice: Choice) -> list[Alternative]:
        """Those with something left to do, or all if none has."""
        return [entry for entry in alternatives if not is_reached(entry[0], choice.state)] or alternatives


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
