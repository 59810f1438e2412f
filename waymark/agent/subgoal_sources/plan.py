"""A list of sub-goals made before the episode, followed in order; each until the executor ends it."""

from __future__ import annotations

from collections.abc import Iterable

from waymark.contracts import AgentState
from waymark.worlds.scienceworld.subgoals import COMPLETE


class PlanSource:
    """Implements `SubgoalSource` over a plan. After its end the agent can only wait."""

    def __init__(self, subgoals: Iterable[str]) -> None:
        self._left = (subgoal for subgoal in subgoals if subgoal != COMPLETE)

    async def next(self, state: AgentState) -> str | None:
        """The current sub-goal while it goes on, then the plan's next one."""
        if state.current_subgoal is not None and state.subgoal_step is not None:
            return state.current_subgoal
        return next(self._left, None)
