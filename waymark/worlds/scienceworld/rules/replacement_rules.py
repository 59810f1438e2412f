"""Rules that replace actions. `action_matching` has the pure functions by which they choose."""

from __future__ import annotations

from waymark.agent.rules import ProposedAction, ReplacementRule
from waymark.worlds.scienceworld.rules import action_matching
from waymark.worlds.scienceworld.subgoal_actions import canonical_action


class HoldToSubgoal(ReplacementRule):
    """Takes the action that the sub-goal spells out in place of one that leaves out what the sub-goal names.

    Knows the action that a sub-goal such as `pick_up(red apple)` spells out. Acts before an action of the same verb is
    taken that does not name all of it: `pick up apple` would be valid, and wrong. Changes the action to the one that is
    spelt out, unless that was taken in this scene already.
    """

    name = "hold-to-subgoal"

    def instead_of(self, action: str, subgoal: str) -> str | None:
        """The action that the sub-goal spells out, if the given one leaves out what it names."""
        meant = canonical_action(subgoal, action)
        return meant if meant is not None and action_matching.leaves_out(action, meant) else None


class RepairSubgoal(ReplacementRule):
    """Replaces an unknown action by the one that the sub-goal spells out.

    Knows the action that a sub-goal spells out and the valid actions. Acts on an action that the environment does not
    know, and on text that is no action. Takes what is spelt out if it is valid.
    """

    name = "repair-subgoal"

    async def replace(self, action: ProposedAction) -> str | None:
        """The valid action that the sub-goal spells out."""
        subgoal = action.state.current_subgoal
        meant = canonical_action(subgoal, action.proposed[0]) if subgoal else None
        return None if meant is None else action_matching.first_valid(meant, [meant], await action.valid())

    replace_unreadable = replace


class RepairAlternatives(ReplacementRule):
    """Replaces an unknown action by the executor's next valid one.

    Knows the valid actions. Acts on an action that the environment does not know. Asks the executor for five and takes
    the first of the same verb that is valid; a focus or a box only if it names the thing that was proposed.
    """

    name = "repair-alternatives"

    async def replace(self, action: ProposedAction) -> str | None:
        """The first valid alternative of the same verb."""
        valid = await action.valid()
        return action_matching.first_valid(action.proposed[0], await action.ask(), valid)


class RepairShortlist(ReplacementRule):
    """Replaces an unknown action by the valid one that the executor prefers.

    Knows the valid actions. Acts on an action that the environment does not know. Lists at most 64 valid actions of the
    same verb on a thing of a similar name, and takes the one that the executor finds most likely.
    """

    name = "repair-shortlist"

    async def replace(self, action: ProposedAction) -> str | None:
        """What the executor prefers of the shortlist."""
        limit = min(action_matching.SHORTLIST, action.candidates)
        candidates = action_matching.shortlist(action.proposed[0], await action.valid(), limit)
        return await action.weigh(candidates) if candidates else None


class RepairSimilarity(ReplacementRule):
    """Replaces an unknown action by the published rule: shared words decide, and no model is asked.

    Knows the valid actions and the last three actions taken. Acts on an action that the environment does not know, for
    agents whose `repair_by` is `similarity`. Takes the first of the executor's beams that is valid, else the valid
    action that shares most words with the best beam.
    """

    name = "repair-similarity"
    way = "similarity"

    async def replace(self, action: ProposedAction) -> str | None:
        """The published replacement."""
        state, recent = action.state, action.recent[-action_matching.NOT_AGAIN :]
        return action_matching.most_similar(action.proposed, await action.valid(), recent, state.look, state.inventory)
