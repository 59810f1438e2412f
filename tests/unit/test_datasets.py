"""Datasets: which decisions they hold, that nothing leaks from test, and that renaming is consistent."""

from __future__ import annotations

from tests.oracle import one_of_each_task, rule_annotations, trajectories
from training.datasets import Example, Renamer, decisions, examples
from training.trajectories import shorten
from waymark.prompts.compact import COMPACT
from waymark.subgoals import COMPLETE
from waymark.tasks import find_task


def test_no_test_variation_is_tracked_and_every_path_is_solved() -> None:
    for trajectory in trajectories():
        assert trajectory.split == find_task(trajectory.task_id).split_of(trajectory.variation) != "test"
        assert trajectory.score == 100


def test_the_executor_acts_through_each_subgoal_and_then_ends_it() -> None:
    trajectory = next(one for one in trajectories() if one.task_id == "4-2")
    named = rule_annotations([trajectory])["4-2", trajectory.variation]
    answers = [decision.answer for decision in decisions(trajectory, named, "executor")]
    assert [answer for answer in answers if answer] == [step.action for step in trajectory.steps]
    assert answers.count(None) == len(named.segments) - 1


def test_the_controller_is_asked_once_a_subgoal_and_sees_the_last_one() -> None:
    trajectory = next(one for one in trajectories() if one.task_id == "1-1")
    named = rule_annotations([trajectory])["1-1", trajectory.variation]
    found = list(decisions(trajectory, named, "controller"))
    assert [decision.answer for decision in found] == [segment.subgoal for segment in named.segments]
    assert found[-1].answer == COMPLETE
    assert [decision.state.current_subgoal for decision in found] == [None, *(one.answer for one in found[:-1])]


def test_the_flat_dataset_knows_no_subgoals() -> None:
    for trajectory in one_of_each_task():
        named = rule_annotations([trajectory])[trajectory.task_id, trajectory.variation]
        for decision in decisions(trajectory, named, "flat"):
            assert decision.state.current_subgoal is None
            assert decision.answer is not None


def test_renaming_changes_a_name_everywhere_and_nothing_else() -> None:
    chosen = one_of_each_task()
    corpus = examples(chosen, rule_annotations(chosen), "executor", COMPACT)
    rename = Renamer(corpus, share=1.0, seed=1)
    renamed = 0
    for example in corpus:
        prompt, target = rename(example)
        mapping: dict[str, str] = {}
        for old, new in zip(
            (*example.prompt.split(" "), *example.target.split(" ")),
            (*prompt.split(" "), *target.split(" ")),
            strict=True,
        ):
            assert mapping.setdefault(old, new) == new
        renamed += target != example.target
    assert renamed > len(corpus) / 10


def test_renaming_leaves_what_must_be_inferred() -> None:
    example = Example(
        "1-1", 0, "fill metal pot , water | room kitchen : sink", "move metal pot to sink", "fill(metal pot, water)"
    )
    prompt, target = Renamer([example], share=1.0, seed=0)(example)
    assert target.endswith(" to sink")
    assert prompt.endswith("room kitchen : sink")
    assert "metal" not in target.split()


def test_shortened_paths_teleport_and_watch_briefly() -> None:
    gold = ["look around", "open door to hall", "go to hall", "go to lab", "0", "pour pot into pot"]
    assert shorten([*gold, *["look at inclined plane b"] * 20, "close door to hall"]) == [
        "teleport to lab",
        *["look at inclined plane b"] * 5,
    ]
