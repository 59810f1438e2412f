"""Random sub-goals. These are the publication's two controls, which test whether the choice of sub-goals matters.

`random` draws from all sub-goals of the training data. `semi_random` keeps the controller's kind of sub-goal and draws
its arguments. Both use a generator that is seeded for the episode, so a repeated episode gets the same sub-goals.
"""

from __future__ import annotations

import random

from waymark.agent.subgoal_sources import SubgoalSource
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState
from waymark.worlds.registry import agent_world


class RandomSource:
    """Implements `SubgoalSource` without looking at the state."""

    def __init__(self, rng: random.Random, world: AgentWorld | None = None) -> None:
        self._rng = rng
        self._world = world or agent_world()

    async def next(self, state: AgentState) -> str | None:  # noqa: ARG002 - the state does not matter
        """A sub-goal of the training data; all are equally likely."""
        return self._rng.choice(self._world.training_subgoals())


class SemiRandomSource:
    """Implements `SubgoalSource` over the controller's."""

    def __init__(self, controller: SubgoalSource, rng: random.Random, world: AgentWorld | None = None) -> None:
        self._controller = controller
        self._rng = rng
        self._world = world or agent_world()

    async def next(self, state: AgentState) -> str | None:
        """The controller's sub-goal with other arguments."""
        chosen = await self._controller.next(state)
        return None if chosen is None else self._world.with_random_arguments(chosen, state, self._rng)
