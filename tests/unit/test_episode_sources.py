"""Sub-goals from elsewhere: the oracle, a plan, at random."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.samples import spec
from tests.scripted_agent import SOLUTION, Controller, Planner, acting, actions_of, play
from waymark.agent.episode_loop import RETRYABLE, run_episode
from waymark.contracts import AgentConfig, EpisodeResult
from waymark.errors import DeadlineExceeded, ServiceError
from waymark.worlds.scienceworld.random_subgoals import training_subgoals
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio


def subgoals_of(result: EpisodeResult) -> list[str | None]:
    return [turn.subgoal for turn in result.trajectory]


@pytest.mark.parametrize("calls", ["on_end", "every_step"])
async def test_an_executor_with_oracle_subgoals_solves_the_task(
    calls: Literal["on_end", "every_step"],
) -> None:
    executor = acting(SOLUTION[0], None, SOLUTION[1], None, SOLUTION[2], None, SOLUTION[3])
    result = await play(executor, agent=AgentConfig(subgoals="oracle", controller_calls=calls))
    assert result.success
    assert list(dict.fromkeys(subgoals_of(result))) == [
        "focus_on(picture)",
        "pick_up(picture)",
        "navigate_to(kitchen)",
        "move(picture, red box)",
    ]
    assert result.model_calls == 7


async def test_a_plan_is_made_once_and_followed() -> None:
    planner = Planner("1. navigate_to(kitchen)\n2. pick_up(cup)")
    executor = acting("teleport to kitchen", None, "pick up thermometer", None)
    agent = AgentConfig(subgoals="llm_plan")
    result = await run_episode(spec(agent, turns=6), ScriptedEnvironment(), None, executor, planner=planner)
    assert subgoals_of(result) == [*["navigate_to(kitchen)"] * 2, *["pick_up(cup)"] * 2, *["complete_task()"] * 2]
    assert actions_of(result)[-2:] == ["wait1", "wait1"]
    assert (planner.asked, result.model_calls, result.tokens) == (1, 5, 460 + 4 * 12)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("I would rather not.", "PlanUnreadable"), (DeadlineExceeded("It did not answer."), "PlannerFailed")],
)
async def test_a_missing_plan_is_an_error_without_retry(answer: str | ServiceError, kind: str) -> None:
    agent = AgentConfig(subgoals="llm_plan")
    result = await run_episode(spec(agent), ScriptedEnvironment(), None, acting("wait1"), planner=Planner(answer))
    assert result.error is not None
    assert (result.stopped, result.error.kind, result.turns) == ("error", kind, 0)
    assert kind not in RETRYABLE


async def test_random_subgoals_are_the_same_for_the_same_seed() -> None:
    def agents() -> AgentConfig:
        return AgentConfig(subgoals="random")

    once, again = [await play(acting("look around", None), agent=agents(), turns=8) for _ in range(2)]
    assert subgoals_of(once) == subgoals_of(again)
    assert len(set(subgoals_of(once))) > 1
    assert set(subgoals_of(once)) <= set(training_subgoals())


async def test_semi_random_subgoals_are_the_controllers_with_things_in_sight() -> None:
    controller = Controller([["pick_up(moon)"]])
    result = await play(acting("look around"), controller, AgentConfig(subgoals="semi_random"), turns=1)
    assert subgoals_of(result) in (["pick_up(picture)"], ["pick_up(orange)"])
