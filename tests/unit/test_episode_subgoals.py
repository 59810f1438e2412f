"""Which sub-goals and actions an agent takes from its models, with all rules of play."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import evaluation
from tests.scripted_agent import SOLUTION, Controller, Executor, acting, actions_of, play
from waymark.agent.replay import moments
from waymark.contracts import AgentConfig
from waymark.evaluation.run_folder import RunFolder
from waymark.loadtest.sample_states import from_run

pytestmark = pytest.mark.anyio


async def test_on_end_asks_the_controller_after_each_subgoal() -> None:
    controller = Controller([["focus_on(picture)"], ["take(picture)"]])
    result = await play(acting(SOLUTION[0], None, *SOLUTION[1:]), controller)
    assert [turn.controller_called for turn in result.trajectory] == [True, False, True, False, False]
    assert [turn.subgoal for turn in result.trajectory] == ["focus_on(picture)"] * 2 + ["take(picture)"] * 3
    assert (result.turns, result.actions, result.moves) == (5, 4, 4)
    assert controller.asked[1][0].current_subgoal == "focus_on(picture)"


async def test_every_step_asks_the_controller_before_each_action() -> None:
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


async def test_a_failed_subgoal_is_not_repeated_in_its_scene() -> None:
    controller = Controller([["a"], ["b", "a"], ["a", "b", "c"]])
    executor = acting("look around", None, None, *SOLUTION)
    result = await play(executor, controller)
    assert [turn.subgoal for turn in result.trajectory if turn.controller_called] == ["a", "b", "c"]


async def test_waiting_may_be_given_again_and_again() -> None:
    controller = Controller([["wait1(5)"], ["b"], ["wait1(5)", "c"]])
    result = await play(acting("look around", None, None, *SOLUTION), controller)
    assert [turn.subgoal for turn in result.trajectory if turn.controller_called] == ["wait1(5)", "b", "wait1(5)"]


async def test_a_wait_is_replaced_after_three_times_without_effect() -> None:
    controller = Controller([["wait1(1)", "navigate_to(foundry)"]])
    result = await play(acting(*["wait1"] * 4), controller, turns=4)
    assert [turn.subgoal for turn in result.trajectory] == ["wait1(1)", "wait1(1)", "wait1(1)", "navigate_to(foundry)"]


async def test_a_subgoal_to_wait_twice_ends_after_two_waits() -> None:
    controller = Controller([["wait1(2)"], ["b"]])
    result = await play(acting(*["wait1"] * 3), controller, turns=3)
    assert [turn.subgoal for turn in result.trajectory] == ["wait1(2)", "wait1(2)", "b"]


async def test_an_action_without_effect_is_not_repeated() -> None:
    executor = Executor([["pick up moon"], ["pick up moon"], ["pick up moon", "pick up picture"], ["wait1"]])
    result = await play(executor, None, AgentConfig(subgoals="none", repair=False), turns=2)
    assert actions_of(result) == ["pick up moon", "pick up picture"]


async def test_a_repair_is_made_once_for_a_subgoal_and_scene() -> None:
    result = await play(Executor([["teleport to hallway now"]]), Controller([["a"]]), turns=2)
    first, second = result.trajectory
    assert (first.action, first.repaired, first.known) == ("teleport to hallway", True, True)
    assert (second.action, second.repaired) != (first.action, True)


async def test_repeatable_actions_are_repaired_again() -> None:
    result = await play(Executor([["look at picture now"]]), Controller([["a"], ["b"]]), turns=2)
    assert [(turn.known, turn.repaired) for turn in result.trajectory] == [(True, True)] * 2


async def test_a_result_holds_every_state_of_a_model_call(tmp_path: Path) -> None:
    """Sub-goals that end, that go on, one too many times at that, and actions that nobody knows."""
    executor = acting("pick up picture", "eat moon", None, *["teleport to hallway", "teleport to kitchen"] * 7, None)
    controller = Controller([["a"], ["b"], ["c"], ["navigate_to(kitchen)"], ["d"]])
    result = await play(executor, controller, turns=16)
    folder = RunFolder(tmp_path)
    folder.begin(evaluation())
    folder.append(result)
    decisions = from_run(tmp_path)
    for role, model in (("controller", controller), ("executor", executor)):
        once = dict.fromkeys(state for state, _ in model.asked)  # it is asked again where it was unwise
        assert list(once) == list(dict.fromkeys(decision.state for decision in decisions if decision.asked == role))


async def test_the_executor_weighs_a_shortlist_in_place_of_an_unknown_action() -> None:
    executor = Executor([["move picture to blue box"], ["wait1"]])
    result = await play(executor, turns=1)
    assert list(executor.weighed[0][:2]) == ["move picture to hallway", "move picture to inventory"]
    turn = result.trajectory[0]
    assert (turn.action, turn.proposed, turn.repaired) == (executor.weighed[0][0], "move picture to blue box", True)
    assert (result.repaired, result.model_calls) == (1, 2)


async def test_an_unknown_action_without_replacement_is_played() -> None:
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


async def test_an_episode_of_a_deleted_rule_is_still_read() -> None:
    result = await play(acting(*SOLUTION), Controller([["a"]]), AgentConfig(rules=("in-sight",)))
    assert result.agent is not None
    older = result.model_copy(
        update={"agent": result.agent.model_copy(update={"rules": ("circles", "in-sight", "unknown-ends-subgoal")})}
    )
    assert list(moments(older, 40)) == list(moments(result, 40)) != []


async def test_a_recorded_end_by_a_deleted_rule_is_still_read() -> None:
    result = await play(acting("eat moon", "wait1"), Controller([["a"]]), turns=2)
    first, second = result.trajectory
    older = result.model_copy(
        update={"trajectory": (first.model_copy(update={"rules": ("unknown-ends-subgoal",)}), second)}
    )
    states = [[moment.state.subgoal_step for moment in moments(episode, 40)][-1] for episode in (result, older)]
    assert states == [1, 3]
