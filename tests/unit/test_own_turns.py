"""Paths that begin with an agent's own turns: what models learn after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.oracle import one_of_each_task
from training.annotations import annotate_by_rule, annotated
from training.datasets import Decision, decisions
from training.failed_attempts import decisions_after_failures
from training.trajectories import RecordedStep, Trajectory
from training.worlds.registry import training_world
from waymark.contracts import Role

WORLD = training_world("scienceworld")
PATH = one_of_each_task()[0]
FIRST = annotate_by_rule(PATH).segments[0]


def own_turn(action: str, subgoal: str, *, known: bool = False) -> RecordedStep:
    """A turn that changes nothing; without an action it ends the sub-goal."""
    observation = WORLD.refusal if action and not known else ""
    return RecordedStep(
        action, observation, PATH.look, PATH.inventory, score=0, moves=0, goals=[], detour=True,
        known=known or not action, subgoal=subgoal,
    )  # fmt: skip


def after(turns: Sequence[RecordedStep], role: Role) -> list[Decision]:
    path = replace(PATH, steps=[*turns, *PATH.steps])
    annotation = annotate_by_rule(path)
    assert annotated([path], {path.key: annotation}) == [path]  # the segments cover the path
    return list(decisions(path, annotation, role))


def on_the_path(role: Role) -> list[str | None]:
    return [decision.answer for decision in decisions(PATH, annotate_by_rule(PATH), role)]


LOST = [own_turn("teleport to moon", "navigate_to(moon)")] * 2


def test_a_subgoal_that_led_nowhere_is_ended_and_another_one_given() -> None:
    executor, controller = after(LOST, "executor"), after(LOST, "controller")
    assert [decision.answer for decision in executor] == [None, *on_the_path("executor")]
    assert executor[0].state.current_subgoal == "navigate_to(moon)"
    assert executor[0].state.subgoal_step is not None
    assert [turn.observation for turn in executor[0].state.turns] == [WORLD.refusal] * 2
    assert [decision.answer for decision in controller] == on_the_path("controller")
    assert controller[0].state.subgoal_step is None
    assert controller[0].state.current_subgoal == "navigate_to(moon)"


def test_a_subgoal_that_the_expert_follows_too_goes_on() -> None:
    misspelt = [own_turn("do what nobody knows", FIRST.subgoal)]
    executor, controller = after(misspelt, "executor"), after(misspelt, "controller")
    assert [decision.answer for decision in executor] == on_the_path("executor")
    assert executor[0].state.observation == WORLD.refusal
    assert executor[0].state.completed_subgoals == ()
    assert [decision.answer for decision in controller] == on_the_path("controller")[1:]  # nobody asks for the first


def test_a_subgoal_that_was_ended_again_and_again_is_in_the_history() -> None:
    ended = [own_turn("", "open(door)")] * 3
    executor, controller = after(ended, "executor"), after(ended, "controller")
    assert [decision.answer for decision in executor] == on_the_path("executor")
    assert [decision.answer for decision in controller] == on_the_path("controller")
    assert controller[0].state.ended_subgoals == 3
    assert controller[0].state.current_subgoal == "open(door)"


def test_a_subgoal_that_another_one_replaced_is_not_ended() -> None:
    replaced = [own_turn("go north", "explore()"), own_turn("", "open(door)")]
    first = after(replaced, "controller")[0].state
    assert (first.completed_subgoals, first.current_subgoal, first.ended_subgoals) == (("explore()",), "open(door)", 1)
    assert after(replaced, "executor")[0].answer == on_the_path("executor")[0]


def test_the_flat_agent_learns_what_to_do_after_its_own_turns() -> None:
    for turns in ([own_turn("go north", "")], LOST):
        flat = after(turns, "flat")
        assert [decision.answer for decision in flat] == on_the_path("flat")
        assert flat[0].state.observation == WORLD.refusal


@pytest.mark.parametrize("role", ["controller", "executor", "flat"])
def test_no_failures_are_made_up_where_there_are_real_ones(role: Role) -> None:
    path = replace(PATH, steps=[*LOST, *PATH.steps])

    def made_up(paths: Sequence[Trajectory]) -> int:
        named = {path.key: annotate_by_rule(path) for path in paths}
        return len(list(decisions_after_failures(paths, named, role, 1.0, WORLD)))

    assert made_up([PATH]) > 0
    assert made_up([path]) == 0
