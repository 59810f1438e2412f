"""Rules that replace actions. `action_matching` has the pure functions by which they choose."""

from __future__ import annotations

from waymark.agent.rules import ProposedAction, ReplacementRule
from waymark.worlds.scienceworld.rules import action_matching


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
