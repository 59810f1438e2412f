"""The episode loop over the scripted environment: what is counted, limits, and faults."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.samples import spec
from tests.scripted_agent import FLAT, SOLUTION, Controller, Executor, acting, actions_of, play
from waymark.agent.episode_loop import RETRYABLE, run_episode
from waymark.agent.model_ports import RequestLimits
from waymark.agent.stop_rules import stop_reason
from waymark.contracts import (
    ActionResponse,
    AgentConfig,
    AgentState,
    Limits,
    ServiceInfo,
    ServiceLimits,
    SubgoalSource,
    TurnRecord,
)
from waymark.errors import EnvironmentFault, ExecutorUnavailable, InvalidInput
from waymark.worlds.base import Step
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio


async def test_a_solved_episode_is_completed_with_everything_counted() -> None:
    seen: list[TurnRecord] = []
    result = await run_episode(spec(FLAT), ScriptedEnvironment(), None, acting(*SOLUTION), on_turn=seen.append)
    assert (result.stopped, result.score, result.success, result.error) == ("completed", 100, True, None)
    assert (result.turns, result.actions, result.moves, result.model_calls, result.tokens) == (4, 4, 4, 4, 48)
    assert tuple(seen) == result.trajectory
    assert [turn.reward for turn in seen] == [50, 0, 0, 50]
    assert all(turn.subgoal is None and not turn.controller_called for turn in seen)


async def test_a_negative_score_fails_the_episode_and_counts_as_zero() -> None:
    result = await play(acting("look around", "focus on orange", "look around"))
    assert (result.stopped, result.score, result.raw_score, result.last_nonnegative_score) == ("failed", 0, -100, 0)
    assert result.turns == 2


async def test_the_executor_sees_the_state_that_training_folds() -> None:
    executor = acting(*SOLUTION)
    await play(executor, Controller([["find(picture)"]]))
    state, _ = executor.asked[2]
    assert [turn.action for turn in state.turns] == ["focus on picture", "pick up picture"]
    assert (state.step, state.score, state.current_subgoal) == (3, 50, "find(picture)")
    assert "picture" in state.inventory


async def test_only_the_turns_that_a_service_reads_are_sent() -> None:
    executor = acting(*SOLUTION)
    await run_episode(spec(FLAT), ScriptedEnvironment(), None, executor, request_limits=RequestLimits(history_turns=1))
    assert [turn.action for turn in executor.asked[3][0].turns] == ["teleport to kitchen"]
    assert executor.asked[3][0].step == 4


async def test_no_service_is_asked_for_more_than_it_takes() -> None:
    controller = Controller([["find(picture)", "find(orange)", "find(door)"]])
    executor = Executor([["fly"], [None]])
    request_limits = RequestLimits(alternatives=2, candidates=3)
    await run_episode(
        spec(AgentConfig(), turns=12), ScriptedEnvironment(), controller, executor, request_limits=request_limits
    )
    assert {n for _, n in controller.asked} == {1, 2}
    assert {n for _, n in executor.asked} <= {1, 2}
    wide = Controller(controller.answers)
    await run_episode(spec(AgentConfig(), turns=12), ScriptedEnvironment(), wide, Executor([["fly"], [None]]))
    assert max(n for _, n in wide.asked) == 16


async def test_no_more_candidates_are_weighed_than_a_service_takes() -> None:
    executor = acting("move picture to floor")
    await run_episode(
        spec(FLAT, turns=1), ScriptedEnvironment(), None, executor, request_limits=RequestLimits(candidates=1)
    )
    assert [len(candidates) for candidates in executor.weighed] == [1]


def test_request_limits_are_the_smaller_of_both_services() -> None:
    def info(history_turns: int, *, turns: int, alternatives: int, candidates: int) -> ServiceInfo:
        limits = ServiceLimits(
            items=1,
            turns=turns,
            alternatives=alternatives,
            candidates=candidates,
            input_tokens=1,
            body_bytes=1,
            queue=1,
            queue_tokens=1,
            queue_seconds=1,
        )
        return ServiceInfo(
            service="executor",
            version="0",
            checkpoints=(),
            history_turns=history_turns,
            max_batch=1,
            max_queue=1,
            limits=limits,
        )

    narrow = info(10, turns=3, alternatives=4, candidates=256)
    wide = info(5, turns=1_000, alternatives=16, candidates=10)
    assert RequestLimits.of([narrow, wide]) == RequestLimits(history_turns=3, alternatives=4, candidates=10)


async def test_a_stopped_episode_is_cancelled_and_keeps_its_turns() -> None:
    stops = iter((False, False, True))
    result = await run_episode(
        spec(FLAT), ScriptedEnvironment(), None, acting("wait1"), should_stop=lambda: next(stops)
    )
    assert (result.stopped, result.turns) == ("cancelled", 2)


def turn(*, score: int = 0, reward: int = 0, moves: int = 0, action: str | None = "wait1") -> TurnRecord:
    return TurnRecord(
        turn=1,
        subgoal=None,
        controller_called=False,
        action=action,
        proposed=None,
        logprob=None,
        score=score,
        reward=reward,
        moves=moves,
    )


def test_moves_are_passed_when_more_than_the_limit() -> None:
    limits = Limits(moves=10, turns=99)
    assert stop_reason([turn(moves=10)], limits) is None
    assert stop_reason([turn(moves=11)], limits) == "moves"


def test_patience_counts_turns_since_the_score_last_changed() -> None:
    limits = Limits(moves=10, turns=99, patience=2)
    assert stop_reason([turn(reward=10), turn()], limits) is None
    assert stop_reason([turn(reward=10), turn(), turn(action=None)], limits) == "patience"
    assert stop_reason([turn(), turn(reward=-5)], limits) is None


def test_repetition_looks_at_actions_alone() -> None:
    limits = Limits(moves=10, turns=99, repetition=4)
    circle = [turn(action=action) for action in ("a", "b", None, "a", "b")]
    assert stop_reason(circle, limits) == "patience"
    assert stop_reason([*circle, turn(action="c")], limits) is None
    assert stop_reason(circle[1:], limits) is None


async def test_ended_subgoals_and_free_actions_cost_no_moves() -> None:
    result = await play(acting("look around", None, "inventory"), Controller([["a"], ["b", "a"]]), turns=3)
    assert (result.stopped, result.turns, result.actions, result.moves) == ("turns", 3, 2, 0)


async def test_a_lost_service_is_a_retriable_error_with_turns_kept() -> None:
    class Failing(Executor):
        async def action(
            self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
        ) -> ActionResponse:
            if state.turns:
                raise ExecutorUnavailable("The executor is gone.", remedy="Start it.")
            return await super().action(state, n=n, model=model, valid_actions=valid_actions)

    result = await play(Failing([["focus on picture"]]))
    assert (result.stopped, result.score, result.raw_score, result.success) == ("error", 0, 50, False)
    assert result.error is not None
    assert (result.error.kind, result.error.message) == ("ExecutorUnavailable", "The executor is gone. Start it.")
    assert result.error.kind in RETRYABLE
    assert actions_of(result) == ["focus on picture"]


async def test_an_environment_that_dies_is_a_recorded_error() -> None:
    class Broken(ScriptedEnvironment):
        def step(self, action: str) -> Step:
            raise EnvironmentFault("The JVM died.")

    result = await run_episode(spec(FLAT), Broken(), None, acting("wait1"))
    assert (result.stopped, result.turns) == ("error", 0)


async def test_an_error_in_the_code_itself_is_raised() -> None:
    def wrong(_: TurnRecord) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_episode(spec(FLAT), ScriptedEnvironment(), None, acting("wait1"), on_turn=wrong)


@pytest.mark.parametrize("source", ["controller", "semi_random", "llm_plan"])
async def test_an_agent_without_its_model_is_refused(source: SubgoalSource) -> None:
    with pytest.raises(InvalidInput) as refused:
        await run_episode(spec(AgentConfig(subgoals=source)), ScriptedEnvironment(), None, acting("wait1"))
    assert refused.value.field == "agent.subgoals"
