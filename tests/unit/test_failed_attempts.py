"""Failed attempts in histories: what they look like, and that the answer stays the oracle's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import Decision, decisions
from training.failed_attempts import decisions_after_failures
from training.load_examples import Wording
from training.trajectories import Trajectory
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.errors import InvalidInput

WORLD = training_world("scienceworld")


def after_failures(role: Role, share: float = 1.0) -> Iterator[tuple[Trajectory, Decision]]:
    chosen = one_of_each_task()
    return decisions_after_failures(chosen, rule_annotations(chosen), role, share, WORLD)


def refused(decision: Decision) -> bool:
    return decision.state.observation == WORLD.refusal


def test_the_controller_names_what_the_oracle_did() -> None:
    answers = {
        path.key: {decision.answer for decision in decisions(path, rule_annotations([path])[path.key], "controller")}
        for path in one_of_each_task()
    }
    after = list(after_failures("controller"))
    assert len(after) > 100
    assert all(decision.answer in answers[path.key] for path, decision in after)
    assert all(decision.state.subgoal_step is None for _, decision in after)
    assert any(refused(decision) for _, decision in after)
    assert any(not refused(decision) for _, decision in after)


def test_the_executor_ends_finished_and_impossible_subgoals_and_corrects_misspellings() -> None:
    after = [decision for _, decision in after_failures("executor")]
    assert {refused(decision) for decision in after if decision.answer is None} == {True, False}
    assert all(refused(decision) for decision in after if decision.answer is not None)
    assert all(decision.state.turns[-1].action != decision.answer for decision in after if decision.answer)
    assert all(decision.state.subgoal_step is not None for decision in after)


def test_the_executor_gives_up_what_was_refused_again_and_again() -> None:
    refusals = [
        (sum(turn.observation == WORLD.refusal for turn in decision.state.turns[-12:]), decision.answer)
        for _, decision in after_failures("executor")
        if refused(decision)
    ]
    assert {answer for count, answer in refusals if count >= 4} == {None}
    assert any(answer for count, answer in refusals if count < 4)


def test_the_flat_agent_answers_with_the_right_action() -> None:
    after = [decision for _, decision in after_failures("flat")]
    assert after
    assert all(decision.answer and refused(decision) and not decision.state.current_subgoal for decision in after)


def test_an_attempt_changes_neither_room_nor_inventory_nor_score() -> None:
    for role in ("controller", "executor"):
        for path, decision in after_failures(role):
            scenes = {(step.look, step.inventory, step.score) for step in path.steps} | {(path.look, path.inventory, 0)}
            assert (decision.state.look, decision.state.inventory, decision.state.score) in scenes


def test_attempts_are_reproducible_and_made_for_a_share_of_paths() -> None:
    all_attempts, fewer_attempts = list(after_failures("executor")), list(after_failures("executor", 0.2))
    assert fewer_attempts == list(after_failures("executor", 0.2))
    assert 0.1 < len(fewer_attempts) / len(all_attempts) < 0.3


def test_failed_attempts_are_added_only_on_request() -> None:
    chosen = one_of_each_task()
    named = rule_annotations(chosen)
    assert Wording("executor", "compact").examples_after_failures(chosen, named) == []
    asked = Wording("executor", "compact", failed_attempts=0.2)
    assert asked.options == "--failed-attempts 0.2"
    assert len(asked.examples_after_failures(chosen, named)) == len(list(after_failures("executor", 0.2)))


@pytest.mark.parametrize(
    ("world", "prompt_format", "as_published"),
    [("textworld-express", "textworld-plain", False), ("scienceworld", "seed", True)],
)
def test_failed_attempts_are_refused_where_they_cannot_be_made(
    world: str, prompt_format: str, as_published: bool
) -> None:
    with pytest.raises(InvalidInput, match=r"failed attempts|unknown action"):
        Wording("executor", prompt_format, as_published=as_published, world=world, failed_attempts=0.1)
