"""A list of sub-goals made before the episode. The agent follows them in order, each until the executor ends it."""

from __future__ import annotations

from collections.abc import Iterable

from waymark.agent.state import COMPLETE
from waymark.contracts import AgentState


class PlanSource:
    """Implements `SubgoalSource` over a plan. After its end the agent can only wait."""

    def __init__(self, subgoals: Iterable[str]) -> None:
        self._left = (subgoal for subgoal in subgoals if subgoal != COMPLETE)

    async def next(self, state: AgentState) -> str | None:
        """The current sub-goal while it is under way, then the next of the plan."""
        if state.current_subgoal is not None and state.subgoal_step is not None:
            return state.current_subgoal
        return next(self._left, None)
