"""Corrections: an agent that goes astray on a training variation, and the direct way on from there, simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.answers import action_answer, subgoal_answer
from tests.oracle import trajectories
from training.annotations import annotate_by_rule
from training.datasets import examples
from training.worlds.scienceworld.dagger import FIRST_TAKE, Corrected, corrections, first_take, numbered, plan
from training.worlds.scienceworld.expert import MISPLACED
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.worlds.scienceworld.environment import ScienceWorldSlot
from waymark.worlds.scienceworld.prompts.compact import COMPACT

ASTRAY = (
    *("teleport to kitchen", "", "open cupboard", "", "pick up nothing", "pick up nothing", ""),
    *("pick up thermometer", "", "teleport to outside", "", "focus on axe"),
)
"""What a lost agent does; empty: it ends its sub-goal."""


class Follower:
    """An agent that does what it was told beforehand, and remembers the tasks that it was given. It ends its sub-goal
    where it was told nothing."""

    def __init__(self, actions: Sequence[str]) -> None:
        self._actions = actions
        self.tasks: set[str] = set()

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        self.tasks.add(state.task)
        return subgoal_answer(SubgoalAlternative(subgoal="follow()", logprob=0.0, mean_logprob=0.0), model=model)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        action = self._actions[len(state.turns)]
        alternative = ActionAlternative(action=action or None, ended_subgoal=not action, logprob=0.0, mean_logprob=0.0)
        return action_answer(alternative, model=model)


@pytest.fixture(scope="module")
def planned() -> list[Corrected]:
    return plan(trajectories(), rollouts=5, misplaced=40, checkpoints=Path("checkpoints"))


def test_the_expert_solves_the_episode_after_the_agents_mistakes(
    slot: ScienceWorldSlot, planned: list[Corrected]
) -> None:
    chocolate = next(wanted for wanted in planned if (wanted.task_id, wanted.variation) == ("1-1", 10))
    lost = Follower(ASTRAY)
    paths = corrections(slot, replace(chocolate, rollouts=4, without_rules=True), lost, lost)
    assert len({path.key for path in paths}) == len(paths) == 12
    assert len({path.misplaced for path in paths}) > 1
    assert len(lost.tasks) > 1  # now and then the thing is called otherwise
    for path in paths:
        assert (path.score, path.take >= FIRST_TAKE, path.gold_actions) == (100, True, chocolate.gold_actions)
        own = [step for step in path.steps if step.detour]
        assert [step.action for step in own] == list(ASTRAY[: len(own)])
        assert 0 < len(own) < len(ASTRAY)  # short of what cost the episode
        assert {step.subgoal for step in own} == {"follow()"}
        assert not any(step.known for step in own if step.action == "pick up nothing")
        assert own[-1].ends_subgoal or not own[-1].known  # where somebody is asked what to do next
        learnt = examples([path], {path.key: annotate_by_rule(path)}, "flat", COMPACT)
        assert len(learnt) == len(path.steps) - len(own)


def test_an_agent_that_solves_the_episode_is_not_corrected(slot: ScienceWorldSlot, planned: list[Corrected]) -> None:
    chosen = next(wanted for wanted in planned if wanted.task_id == "4-1")
    follower = Follower(chosen.oracle)
    assert corrections(slot, chosen, follower, follower) == []
    assert follower.tasks


def test_only_training_variations_are_played_each_task_in_turn(planned: list[Corrected]) -> None:
    trained = {
        (trajectory.task_id, trajectory.variation) for trajectory in trajectories() if trajectory.split == "train"
    }
    assert {(wanted.task_id, wanted.variation) for wanted in planned} <= trained
    tasks = [wanted.task_id for wanted in planned]
    assert len(set(tasks)) == len(set(tasks[: len(set(tasks))])) == 27
    for task in set(tasks):
        played = sum(wanted.rollouts for wanted in planned if wanted.task_id == task)
        assert played >= (40 if task in MISPLACED else 5)


def test_corrections_of_a_later_agent_are_added_to_earlier_ones() -> None:
    first, later = ([*numbered([{"take": FIRST_TAKE + 7}, {"fault": "hung"}], rounds)] for rounds in (0, 1))
    assert [first[0]["take"] < first_take(1), later[0]["take"] >= first_take(1)] == [True, True]
    assert later[1] == {"fault": "hung"}
