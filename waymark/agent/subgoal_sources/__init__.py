"""Where an episode's sub-goals come from: one protocol, one implementation a source.

    controller     controller.ControllerSource    the controller's n-best, chosen by the rules of play
    semi_random    drawn.SemiRandomSource         the controller's, its arguments replaced by what is in sight
    random         drawn.RandomSource             any sub-goal of the training data
    oracle         plan.PlanSource                oracle.subgoals: the rule annotator on the simulator's own path
    llm_plan       plan.PlanSource                llm_plan.ask_plan: a large model's plan, asked once
    none           no source at all               the flat agent

A source belongs to one episode. The flat agent aside, the loop of `waymark.agent.episode` is the same for all of them.
"""

from __future__ import annotations

from typing import Protocol

from waymark.contracts import AgentState


class SubgoalSource(Protocol):
    """Names an episode's sub-goals, one at a time. Raises ServiceError."""

    async def next(self, state: AgentState) -> str | None:
        """The sub-goal to follow from here; None when the agent can only wait: it believes that it is done.

        `state.subgoal_step` tells whether the current sub-goal goes on or has ended (None).
        """
        ...
