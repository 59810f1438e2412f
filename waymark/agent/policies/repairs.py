"""What an unknown action is replaced by: one implementation a way, named by `AgentConfig.repair_by`.

    executor      ExecutorRepair      what the sub-goal says, an alternative that is valid, or what the executor prefers
    similarity    SimilarityRepair    the published rule: a valid beam, or the valid action with most shared words

With `AgentConfig.repair` false there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from waymark.agent.play import Play
from waymark.agent.readable import decisions_of
from waymark.agent.subgoal_sources.controller import REPEATABLE
from waymark.worlds.scienceworld.rules import repair
from waymark.worlds.scienceworld.subgoals import canonical_action

ALTERNATIVES = 5
"""How many actions the executor is asked for once its first is unknown."""


class Repair(Protocol):
    """Finds a valid action in place of one that the environment does not know."""

    async def replace(self, proposed: Sequence[str], *, taken: Collection[str]) -> str | None:
        """What to do instead of the first of the executor's actions, none of those taken; None: nothing fits.

        Raises ServiceError, EnvironmentFault.
        """
        ...


def open_repair(play: Play) -> Repair | None:
    """The agent's; None where it has none."""
    if not play.agent.repair:
        return None
    return SimilarityRepair(play) if play.agent.repair_by == "similarity" else ExecutorRepair(play)


class ExecutorRepair:
    """Implements `Repair`: the executor chooses among the valid actions of the same verb."""

    def __init__(self, play: Play) -> None:
        self._play = play

    async def replace(self, proposed: Sequence[str], *, taken: Collection[str]) -> str | None:
        """The sub-goal's own action, else a valid alternative, else what the executor likes best of a shortlist."""
        play, unknown = self._play, proposed[0]
        known = await play.valid_actions()
        spent = {action for action in taken if not action.startswith(REPEATABLE)}
        valid = [action for action in known if action != unknown and action not in spent]
        given = play.state.current_subgoal
        meant = canonical_action(given, unknown) if given else None
        if meant is not None and (said := repair.first_valid(meant, [meant], valid)) is not None:
            return said
        answer = await play.ask_executor(n=ALTERNATIVES)
        alternatives = [one.action for one in decisions_of(answer) if one.action is not None]
        chosen = repair.first_valid(unknown, alternatives, valid)
        if chosen is not None:
            return chosen
        candidates = repair.shortlist(unknown, valid, min(repair.SHORTLIST, play.reach.candidates))
        if not candidates:
            return None
        return (await play.ask_executor(n=1, valid_actions=candidates)).action


class SimilarityRepair:
    """Implements `Repair` as published: words decide, and no model is asked."""

    def __init__(self, play: Play) -> None:
        self._play = play

    async def replace(self, proposed: Sequence[str], *, taken: Collection[str]) -> str | None:  # noqa: ARG002
        """The first of the beams that is valid, else the valid action that shares most words with the best beam."""
        state = self._play.state
        recent = [turn.action for turn in self._play.turns if turn.action is not None][-repair.NOT_AGAIN :]
        return repair.most_similar(proposed, await self._play.valid_actions(), recent, state.look, state.inventory)
