"""ScienceWorld as the agent sees it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from waymark.agent.rules import Rule
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState
from waymark.worlds.base import PathStep
from waymark.worlds.scienceworld import annotator, oracle_path, random_subgoals, scene
from waymark.worlds.scienceworld.planner_prompt import PLAN_PROMPT
from waymark.worlds.scienceworld.rules import RULES


class ScienceWorldForAgents(AgentWorld):
    """Implements `AgentWorld`."""

    name = "scienceworld"
    waiting_action = "wait1"  # the shortest wait: two moves
    repeatable = (
        "wait",
        "water(",
        "use thermometer",
        "monitor_temperature(",
        "measure_temperature(",
        "look ",
        "time_slide(",
    )
    plan_prompt = PLAN_PROMPT

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """See `RULES`."""
        return tuple(rule(self) for rule in RULES)

    def room_of(self, look: str) -> str | None:
        """See `scene.room_of`."""
        return scene.room_of(look)

    def name_rooms(self, rooms: tuple[str, ...], observation: str, look: str) -> tuple[str, ...]:
        """See `scene.name_rooms`."""
        return scene.name_rooms(rooms, observation, look)

    def without_readings(self, text: str) -> str:
        """See `scene.without_readings`."""
        return scene.without_readings(text)

    def training_subgoals(self) -> tuple[str, ...]:
        """See `random_subgoals.training_subgoals`."""
        return random_subgoals.training_subgoals()

    def with_random_arguments(self, subgoal: str, state: AgentState, rng: random.Random) -> str:
        """See `random_subgoals.with_random_arguments`."""
        return random_subgoals.with_random_arguments(subgoal, state, rng)

    def clean_path(self, actions: Sequence[str]) -> list[str]:
        """See `oracle_path.clean`."""
        return oracle_path.clean(actions)

    def replayable_path(self, actions: Sequence[str]) -> list[str]:
        """See `oracle_path.replayable`."""
        return oracle_path.replayable(actions)

    def plain_action(self, action: str, answer: str, seen: str) -> str:
        """See `oracle_path.plain_action`."""
        return oracle_path.plain_action(action, answer, seen)

    def annotated(self, task: str, path: Sequence[tuple[str, str]]) -> list[str]:
        """See `annotator.annotate`."""
        steps = [PathStep(action, observation) for action, observation in path]
        return [segment.subgoal for segment in annotator.annotate(task, steps)]


SCIENCEWORLD: Final = ScienceWorldForAgents()
