from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from tests.samples import evaluation
from waymark.agent.episode import RETRYABLE, run_episode
from waymark.agent.ports import RequestLimits
from waymark.agent.stop_rules import stop_reason
from waymark.clients.chat import Answer, Message
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentConfig,
    AgentState,
    EpisodeResult,
    EpisodeSpec,
    Limits,
    ServiceInfo,
    ServiceLimits,
    SubgoalAlternative,
    SubgoalResponse,
    SubgoalSource,
    Timing,
    TurnRecord,
    Usage,
)
from waymark.errors import DeadlineExceeded, EnvironmentFault, ExecutorUnavailable, InvalidInput, ServiceError
from waymark.evaluation.run_folder import RunFolder
from waymark.loadtest.states import from_run
from waymark.worlds.base import Step
from waymark.worlds.scienceworld.redrawing import training_subgoals
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio

USAGE = Usage(prompt_tokens=10, completion_tokens=2)
TIMING = Timing(queue=0, model=0, total=0)
SOLUTION = ("focus on picture", "pick up picture", "teleport to kitchen", "move picture to red box")
FLAT = AgentConfig(subgoals="none")


@dataclass
class Controller:
    """Gives its answers in turn, each a list of alternatives; the last one again and again."""

    answers: list[list[str]]
    asked: list[tuple[AgentState, int]] = field(default_factory=list)

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)][:n]
        self.asked.append((state, n))
        alternatives = tuple(SubgoalAlternative(subgoal=one, logprob=-1, mean_logprob=-1) for one in answer)
        return SubgoalResponse(subgoal=answer[0], alternatives=alternatives, model=model, usage=USAGE, timing_ms=TIMING)


@dataclass
class Executor:
    """The same for actions; None ends the sub-goal. Of given valid actions it likes the first best."""

    answers: list[list[str | None]]
    asked: list[tuple[AgentState, int]] = field(default_factory=list)
    weighed: list[Sequence[str]] = field(default_factory=list)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        if valid_actions is not None:
            self.weighed.append(valid_actions)
            answer: list[str | None] = [valid_actions[0]]
        else:
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)][:n]
            self.asked.append((state, n))
        alternatives = tuple(
            ActionAlternative(action=one, ended_subgoal=one is None, logprob=-1.0, mean_logprob=-0.1) for one in answer
        )
        return ActionResponse(
            action=answer[0],
            ended_subgoal=answer[0] is None,
            alternatives=alternatives,
            model=model,
            usage=USAGE,
            timing_ms=TIMING,
        )


def spec(agent: AgentConfig, *, moves: int = 100, turns: int = 20, patience: int | None = None) -> EpisodeSpec:
    return EpisodeSpec(
        id="x",
        evaluation="e",
        task="4-2",
        variation=0,
        simplifications="easy",
        seed=0,
        agent=agent,
        limits=Limits(moves=moves, turns=turns, patience=patience),
    )


def acting(*actions: str | None) -> Executor:
    return Executor([[action] for action in actions])


async def play(
    executor: Executor, controller: Controller | None = None, agent: AgentConfig | None = None, *, turns: int = 20
) -> EpisodeResult:
    chosen = agent or (AgentConfig() if controller else FLAT)
    return await run_episode(spec(chosen, turns=turns), ScriptedEnvironment(), controller, executor)


def actions_of(result: EpisodeResult) -> list[str | None]:
    return [turn.action for turn in result.trajectory]


# --- the loop --------------------------------------------------------------------------------------------


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
    await run_episode(spec(FLAT), ScriptedEnvironment(), None, executor, reach=RequestLimits(history_turns=1))
    assert [turn.action for turn in executor.asked[3][0].turns] == ["teleport to kitchen"]
    assert executor.asked[3][0].step == 4


async def test_no_service_is_asked_for_more_than_it_takes() -> None:
    controller = Controller([["find(picture)", "find(orange)", "find(door)"]])
    executor = Executor([["fly"], [None]])
    reach = RequestLimits(alternatives=2, candidates=3)
    await run_episode(spec(AgentConfig(), turns=12), ScriptedEnvironment(), controller, executor, reach=reach)
    assert {n for _, n in controller.asked} == {1, 2}
    assert {n for _, n in executor.asked} == {1, 2}
    wide = Controller(controller.answers)
    await run_episode(spec(AgentConfig(), turns=12), ScriptedEnvironment(), wide, Executor([["fly"], [None]]))
    assert max(n for _, n in wide.asked) == 16


async def test_no_more_candidates_are_weighed_than_a_service_takes() -> None:
    executor = acting("move picture to floor")
    await run_episode(spec(FLAT, turns=1), ScriptedEnvironment(), None, executor, reach=RequestLimits(candidates=1))
    assert [len(each) for each in executor.weighed] == [1]


def test_reach_is_what_both_services_take() -> None:
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

    one = info(10, turns=3, alternatives=4, candidates=256)
    other = info(5, turns=1_000, alternatives=16, candidates=10)
    assert RequestLimits.of([one, other]) == RequestLimits(history_turns=3, alternatives=4, candidates=10)


async def test_a_stopped_episode_is_cancelled_and_keeps_its_turns() -> None:
    stops = iter((False, False, True))
    result = await run_episode(
        spec(FLAT), ScriptedEnvironment(), None, acting("wait1"), should_stop=lambda: next(stops)
    )
    assert (result.stopped, result.turns) == ("cancelled", 2)


# --- sub-goals -------------------------------------------------------------------------------------------


async def test_on_end_the_controller_is_asked_at_the_start_and_after_an_ended_subgoal() -> None:
    controller = Controller([["focus_on(picture)"], ["take(picture)"]])
    result = await play(acting(SOLUTION[0], None, *SOLUTION[1:]), controller)
    assert [turn.controller_called for turn in result.trajectory] == [True, False, True, False, False]
    assert [turn.subgoal for turn in result.trajectory] == ["focus_on(picture)"] * 2 + ["take(picture)"] * 3
    assert (result.turns, result.actions, result.moves) == (5, 4, 4)
    assert controller.asked[1][0].current_subgoal == "focus_on(picture)"


async def test_at_every_step_the_controller_is_asked_before_every_executor_call() -> None:
    controller = Controller([["a"], ["a"], ["b"]])
    result = await play(acting(*SOLUTION), controller, AgentConfig(controller_calls="every_step"))
    assert all(turn.controller_called for turn in result.trajectory)
    assert [turn.subgoal for turn in result.trajectory] == ["a", "a", "b", "b"]
    assert controller.asked[3][0].completed_subgoals == ("a",)


async def test_an_ended_subgoal_is_followed_by_one_that_differs() -> None:
    controller = Controller([["a"], ["a", "b", "c"]])
    result = await play(acting("wait1", None, *SOLUTION), controller)
    assert [n for _, n in controller.asked] == [1, 5]
    assert [turn.subgoal for turn in result.trajectory][:3] == ["a", "a", "b"]


async def test_a_subgoal_that_led_nowhere_is_not_given_again_in_the_same_scene() -> None:
    controller = Controller([["a"], ["b", "a"], ["a", "b", "c"]])
    executor = acting("look around", None, None, *SOLUTION)
    result = await play(executor, controller)
    assert [turn.subgoal for turn in result.trajectory if turn.controller_called] == ["a", "b", "c"]


async def test_waiting_may_be_given_again_and_again() -> None:
    controller = Controller([["wait1(5)"], ["b"], ["wait1(5)", "c"]])
    result = await play(acting("look around", None, None, *SOLUTION), controller)
    assert [turn.subgoal for turn in result.trajectory if turn.controller_called] == ["wait1(5)", "b", "wait1(5)"]


async def test_waiting_in_vain_gives_way_after_three_times() -> None:
    controller = Controller([["wait1(1)", "navigate_to(foundry)"]])
    result = await play(acting(*["wait1"] * 4), controller, turns=4)
    assert [turn.subgoal for turn in result.trajectory] == ["wait1(1)", "wait1(1)", "wait1(1)", "navigate_to(foundry)"]


async def test_a_counted_wait_ends_when_it_is_counted() -> None:
    controller = Controller([["wait1(2)"], ["b"]])
    result = await play(acting(*["wait1"] * 3), controller, turns=3)
    assert [turn.subgoal for turn in result.trajectory] == ["wait1(2)", "wait1(2)", "b"]


async def test_an_action_that_changed_nothing_gives_way_to_the_next_best() -> None:
    executor = Executor([["pick up moon"], ["pick up moon"], ["pick up moon", "pick up picture"], ["wait1"]])
    result = await play(executor, None, AgentConfig(subgoals="none", repair=False), turns=2)
    assert actions_of(result) == ["pick up moon", "pick up picture"]


async def test_the_flat_agent_stakes_its_score_only_where_it_is_sure_enough() -> None:
    executor, waiting = acting(*SOLUTION[:3], "focus on orange"), acting(*SOLUTION[:3], "focus on orange")
    executor.answers.append(["focus on orange", "move picture to red box"])
    result = await play(executor)
    assert result.success
    assert (result.trajectory[3].proposed, result.trajectory[3].action) == ("focus on orange", SOLUTION[3])
    assert (await play(waiting, turns=4)).trajectory[3].action == "wait1"


async def test_a_subgoal_that_says_its_action_repairs_it() -> None:
    controller = Controller([["pick_up(picture)"]])
    executor = Executor([["pick up pictonk"], ["pick up pictonk", "pick up thermometer"]])
    result = await play(executor, controller, turns=1)
    assert (result.trajectory[0].action, result.trajectory[0].repaired) == ("pick up picture", True)


async def test_an_action_that_leaves_out_what_its_subgoal_names_gives_way_to_what_the_subgoal_says() -> None:
    """`pick up thermometer` would be valid, and wrong."""
    executor, controller = Executor([["pick up thermometer"]]), Controller([["pick_up(picture)"]])
    result = await play(executor, controller, turns=1)
    first = result.trajectory[0]
    assert (first.proposed, first.action, first.repaired) == ("pick up thermometer", "pick up picture", True)
    unrepaired = await play(Executor([["pick up thermometer"]]), controller, AgentConfig(repair=False), turns=1)
    assert unrepaired.trajectory[0].action == "pick up thermometer"


async def test_a_subgoal_whose_action_is_not_known_has_ended() -> None:
    controller = Controller([["a"], ["b"]])
    executor = Executor([["eat moon"], ["eat moon"], ["wait1"]])
    result = await play(executor, controller, turns=2)
    assert [turn.subgoal for turn in result.trajectory] == ["a", "b"]
    assert controller.asked[1][0].subgoal_step is None


async def test_no_repair_is_made_twice_for_a_subgoal_in_a_scene() -> None:
    executor = Executor([["teleport to hallwy"], ["teleport to hallway"]] * 2)
    executor.answers += [["teleport to hallwy"]]
    result = await play(executor, Controller([["a"], ["b"]]), turns=3)
    first, second, third = result.trajectory
    assert (first.action, first.repaired, first.known) == ("teleport to hallway", True, True)
    assert (second.action, second.repaired) == ("teleport to hallwy", False)
    assert third.subgoal == "b"


async def test_what_is_meant_to_be_repeated_is_repaired_again() -> None:
    executor = Executor([["look at pictur"], ["look at picture"]] * 2)
    result = await play(executor, Controller([["a"], ["b"]]), turns=2)
    assert [(turn.action, turn.repaired) for turn in result.trajectory] == [("look at picture", True)] * 2


async def test_complete_task_gives_way_to_the_next_best_subgoal() -> None:
    result = await play(acting(*SOLUTION), Controller([["complete_task()", "complete_task()", "a"]]))
    assert result.trajectory[0].subgoal == "a"
    assert result.success


async def test_an_agent_that_believes_it_is_done_waits_and_is_asked_again() -> None:
    controller = Controller([["complete_task()"], ["complete_task()"], ["a"]])
    result = await play(acting(*SOLUTION), controller)
    waiting = result.trajectory[0]
    assert (waiting.subgoal, waiting.action, waiting.proposed) == ("complete_task()", "wait1", None)
    assert controller.asked[2][0].current_subgoal is None
    assert result.trajectory[1].subgoal == "a"


async def test_an_executor_that_only_ends_subgoals_is_asked_for_an_action() -> None:
    controller = Controller([["a"], ["b", "a"], ["a", "b"], ["b", "a"]])
    executor = Executor([[None, "focus on picture"], [None], [None], [None, None, "focus on picture"], ["wait1"]])
    result = await play(executor, controller, turns=5)
    assert actions_of(result) == [None, None, None, "focus on picture", "wait1"]
    assert [n for _, n in executor.asked] == [1, 1, 1, 5, 1]
    assert result.trajectory[3].proposed is None
    assert result.repaired == 0


async def test_a_result_holds_every_state_that_a_model_was_asked_about(tmp_path: Path) -> None:
    """Sub-goals that end, that go on, one too many times at that, and actions that nobody knows."""
    executor = acting("pick up picture", "eat moon", None, *["teleport to hallway", "teleport to kitchen"] * 7, None)
    controller = Controller([["a"], ["b"], ["c"], ["navigate_to(kitchen)"], ["d"]])
    result = await play(executor, controller, turns=16)
    folder = RunFolder(tmp_path)
    folder.begin(evaluation())
    folder.append(result)
    found = from_run(tmp_path)
    for asked, model in (("controller", controller), ("executor", executor)):
        once = dict.fromkeys(state for state, _ in model.asked)  # it is asked again where it was unwise
        assert list(once) == list(dict.fromkeys(one.state for one in found if one.asked == asked))


# --- repair ----------------------------------------------------------------------------------------------


async def test_an_unknown_action_is_repaired_in_its_own_turn_by_the_first_valid_alternative() -> None:
    executor = Executor([["take pictur"], ["take pictur", "focus on picture", "take picture"], ["wait1"]])
    result = await play(executor, turns=2)
    repaired = result.trajectory[0]
    assert (repaired.action, repaired.proposed) == ("pick up picture", "take pictur")
    assert repaired.repaired
    assert repaired.known
    assert (result.repaired, result.turns, result.actions, result.model_calls) == (1, 2, 2, 3)


async def test_without_a_valid_alternative_the_executor_weighs_a_shortlist() -> None:
    executor = Executor([["move picture to blue box"], ["move picture to blue box"], ["wait1"]])
    result = await play(executor, turns=1)
    assert list(executor.weighed[0][:2]) == ["move picture to hallway", "move picture to inventory"]
    assert result.trajectory[0].action == executor.weighed[0][0]
    assert result.model_calls == 3


async def test_an_unknown_action_that_nothing_fits_is_played_as_it_is() -> None:
    result = await play(acting("eat moon"), turns=1)
    turn = result.trajectory[0]
    assert (turn.action, turn.known, turn.repaired, turn.moves) == ("eat moon", False, False, 0)


async def test_without_repair_an_unknown_action_stays() -> None:
    executor = Executor([["focus on pictur", "focus on picture"]])
    result = await play(executor, None, AgentConfig(subgoals="none", repair=False), turns=1)
    assert (result.trajectory[0].known, result.model_calls) == (False, 1)


@pytest.mark.parametrize("nonsense", ["", "   ", "x" * 600])
async def test_an_answer_that_is_no_phrase_is_an_unknown_action(nonsense: str) -> None:
    result = await play(acting(nonsense, *SOLUTION), agent=AgentConfig(subgoals="none", repair=False))
    assert not result.trajectory[0].known
    assert result.success


# --- limits ----------------------------------------------------------------------------------------------


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
    circle = [turn(action=one) for one in ("a", "b", None, "a", "b")]
    assert stop_reason(circle, limits) == "patience"
    assert stop_reason([*circle, turn(action="c")], limits) is None
    assert stop_reason(circle[1:], limits) is None


async def test_ended_subgoals_and_free_actions_count_as_turns_but_cost_no_moves() -> None:
    result = await play(acting("look around", None, "inventory"), Controller([["a"], ["b", "a"]]), turns=3)
    assert (result.stopped, result.turns, result.actions, result.moves) == ("turns", 3, 2, 0)


# --- faults ----------------------------------------------------------------------------------------------


async def test_a_lost_service_is_a_recorded_error_that_keeps_the_turns_and_may_be_retried() -> None:
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


async def test_a_bug_is_raised() -> None:
    def wrong(_: TurnRecord) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_episode(spec(FLAT), ScriptedEnvironment(), None, acting("wait1"), on_turn=wrong)


@pytest.mark.parametrize("source", ["controller", "semi_random", "llm_plan"])
async def test_an_agent_that_has_nobody_to_ask_is_refused(source: SubgoalSource) -> None:
    with pytest.raises(InvalidInput) as refused:
        await run_episode(spec(AgentConfig(subgoals=source)), ScriptedEnvironment(), None, acting("wait1"))
    assert refused.value.field == "agent.subgoals"


# --- other sources of sub-goals --------------------------------------------------------------------------


class Planner:
    """Gives one plan, or the error."""

    def __init__(self, answer: str | ServiceError) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self, messages: Sequence[Message]) -> Answer:
        self.asked += 1
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return Answer(text=self.answer, prompt_tokens=400, completion_tokens=60)


def given(result: EpisodeResult) -> list[str | None]:
    return [turn.subgoal for turn in result.trajectory]


@pytest.mark.parametrize("calls", ["on_end", "every_step"])
async def test_with_the_oracles_subgoals_an_executor_that_follows_them_solves_the_task(
    calls: Literal["on_end", "every_step"],
) -> None:
    """Each sub-goal says its action, so repair carries it out whatever the executor proposes of that verb."""
    executor = acting("focus on it", None, "pick up it", None, "teleport to it", None, "move it to it")
    result = await play(executor, agent=AgentConfig(subgoals="oracle", controller_calls=calls))
    assert result.success
    assert list(dict.fromkeys(given(result))) == [
        "focus_on(picture)",
        "pick_up(picture)",
        "navigate_to(kitchen)",
        "move(picture, red box)",
    ]
    assert result.model_calls == 7


async def test_a_plan_is_asked_once_and_followed_to_its_end_then_the_agent_waits() -> None:
    planner = Planner("1. navigate_to(kitchen)\n2. pick_up(cup)")
    executor = acting("teleport to kitchen", None, "pick up thermometer", None)
    agent = AgentConfig(subgoals="llm_plan")
    result = await run_episode(spec(agent, turns=6), ScriptedEnvironment(), None, executor, planner=planner)
    assert given(result) == [*["navigate_to(kitchen)"] * 2, *["pick_up(cup)"] * 2, *["complete_task()"] * 2]
    assert actions_of(result)[-2:] == ["wait1", "wait1"]
    assert (planner.asked, result.model_calls, result.tokens) == (1, 5, 460 + 4 * 12)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("I would rather not.", "PlanUnreadable"), (DeadlineExceeded("It did not answer."), "PlannerFailed")],
)
async def test_an_episode_without_a_plan_errored_and_is_not_played_again(answer: str | ServiceError, kind: str) -> None:
    agent = AgentConfig(subgoals="llm_plan")
    result = await run_episode(spec(agent), ScriptedEnvironment(), None, acting("wait1"), planner=Planner(answer))
    assert result.error is not None
    assert (result.stopped, result.error.kind, result.turns) == ("error", kind, 0)
    assert kind not in RETRYABLE


async def test_random_subgoals_are_the_same_for_the_same_seed() -> None:
    def agents() -> AgentConfig:
        return AgentConfig(subgoals="random")

    once, again = [await play(acting("look around", None), agent=agents(), turns=8) for _ in range(2)]
    assert given(once) == given(again)
    assert len(set(given(once))) > 1
    assert set(given(once)) <= set(training_subgoals())


async def test_semi_random_subgoals_are_the_controllers_with_things_in_sight() -> None:
    controller = Controller([["pick_up(moon)"]])
    result = await play(acting("look around"), controller, AgentConfig(subgoals="semi_random"), turns=1)
    assert given(result) in (["pick_up(picture)"], ["pick_up(orange)"])
