"""Sources of an episode's sub-goals: one protocol, and one implementation for each source.

    controller     controller.ControllerSource     the controller's n-best, chosen by the rules of play
    semi_random    at_random.SemiRandomSource      the controller's, with arguments replaced at random
    random         at_random.RandomSource          any sub-goal of the training data, at random
    oracle         plan.PlanSource                 oracle.subgoals: the rule annotator on the simulator's own path
    llm_plan       plan.PlanSource                 llm_plan.ask_plan: a large model's plan, made once
    none           no source at all                the flat agent

A source object belongs to one episode. The loop of `waymark.agent.episode_loop` is the same for all sources.
"""

from __future__ import annotations

from typing import Protocol

from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig, AgentState
from waymark.errors import InvalidInput


class SubgoalSource(Protocol):
    """Names an episode's sub-goals, one after another. Raises ServiceError."""

    async def next(self, state: AgentState) -> str | None:
        """The next sub-goal to follow; None if the agent can only wait, because it believes that it is done.

        `state.subgoal_step` is None when the current sub-goal has ended.
        """
        ...


def check_source(agent: AgentConfig, world: AgentWorld) -> None:
    """Raise InvalidInput (field `agent.subgoals`) if an agent's sub-goals cannot come from its source in a world."""
    if world.lacks(agent.subgoals):
        raise InvalidInput(
            f"The world {world.name} has no sub-goals of the source {agent.subgoals!r}.",
            remedy="Choose another agent, for example hierarchical or flat.",
            field="agent.subgoals",
        )
