"""Policies: how an agent uses its models' answers.

    guided           guided.GuidedPolicy                 with the rules of play that the agent names
    published        published.PublishedPolicy           the published loop: the best answer is followed as it is
    oracle_actions   oracle_actions.OracleActionsPolicy  the simulator's own path; no model is asked

An agent names its policy (`AgentConfig.policy`). A policy belongs to one episode and plays it turn by turn.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from waymark.agent.running_episode import Play
from waymark.contracts import TurnRecord


class Policy(Protocol):
    """Plays an episode turn by turn."""

    @property
    def repetition(self) -> Collection[int]:
        """Numbers of distinct actions among the last `Limits.repetition` actions that count as repetition."""
        ...

    async def turn(self) -> TurnRecord:
        """Play one turn: perhaps ask for a sub-goal, then act or learn that the sub-goal has ended.

        Raises ServiceError, EnvironmentFault.
        """
        ...


def open_policy(play: Play) -> Policy:
    """Make the policy that the agent names, for an open episode."""
    from waymark.agent.policies.guided import GuidedPolicy
    from waymark.agent.policies.oracle_actions import OracleActionsPolicy
    from waymark.agent.policies.published import PublishedPolicy

    match play.agent.policy:
        case "published":
            return PublishedPolicy(play)
        case "oracle_actions":
            return OracleActionsPolicy(play)
        case _:
            return GuidedPolicy(play)
