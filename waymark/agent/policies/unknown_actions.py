"""Replacement of actions that the environment does not know, by the agent's replacement rules in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from waymark.agent.rules import ProposedAction, ReplacementRule
from waymark.agent.running_episode import Play


class UnknownActionReplacer:
    """Finds a valid action in place of one that the environment does not know."""

    def __init__(self, play: Play) -> None:
        self._play = play
        way = play.agent.repair_by
        self._rules = [rule for rule in play.rules.of(ReplacementRule) if rule.way == way]

    async def replace(self, proposed: Sequence[str], *, taken: Collection[str]) -> str | None:
        """The action to take instead of the executor's first one; None if no rule finds one.

        Actions in `taken` are not taken again, unless they are meant to be repeated. Raises ServiceError,
        EnvironmentFault.
        """
        spent = {action for action in taken if not action.startswith(self._play.world.repeatable)}
        published = self._play.agent.repair_by == "similarity"
        action = self._proposal(proposed, barred=() if published else {proposed[0], *spent})
        for rule in self._rules:
            calls = self._play.model_calls
            replacement = await rule.replace(action)
            if replacement is not None or self._play.model_calls > calls:
                self._play.rules.record(rule)
            if replacement is not None:
                return replacement
        return None

    def _proposal(self, proposed: Sequence[str], *, barred: Collection[str]) -> ProposedAction:
        """The action, with everything that a rule may need to replace it; `barred` actions do not count as valid.

        The environment lists its valid actions at most once, and only if a rule asks for them.
        """
        play = self._play
        known: list[list[str]] = []

        async def valid() -> list[str]:
            if not known:
                known.append([action for action in await play.valid_actions() if action not in barred])
            return known[0]

        async def weigh(candidates: Sequence[str]) -> str | None:
            return (await play.ask_executor(n=1, valid_actions=candidates)).action

        recent = [turn.action for turn in play.turns if turn.action is not None]
        return ProposedAction(proposed, play.state, recent, valid, weigh, play.request_limits.candidates)
