"""Folds of the training variations: which things they leave out, and that a training leaves them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle import trajectories
from training.load_examples import by_fold
from training.worlds.scienceworld.folds import FOLDS, fold_of, folded, held_out, left_out, table, things_of
from waymark.errors import InvalidInput
from waymark.worlds.scienceworld.tasks import TASKS, find_task


@pytest.mark.parametrize(
    ("task", "instruction", "actions", "things"),
    [
        ("1-4", "Your task is to change the state of matter of Orange Juice. First, focus", [], ("orange juice",)),
        ("2-1", "Your task is to measure the temperature of metal fork, which is", [], ("metal fork",)),
        ("2-3", "the melting point of solid unknown substance C, which", [], ("unknown substance c",)),
        ("3-2", "Your task is to turn on the red light bulb by powering it using", [], ("red light bulb",)),
        ("3-3", "Your task is to determine if book (The Origin) is electrically conductive.", [], ("book",)),
        ("4-4", "Your task is to find a(n) animal.", ["look around", "focus on baby dove egg"], ("dove",)),
        ("5-1", "Your task is to grow a apple plant from seed. Seeds", [], ("apple",)),
        ("5-2", "Your task is to grow a cherry. This will require", [], ("cherry",)),
        ("6-1", "Your task is to use chemistry to create the substance 'salt water'. A recipe", [], ("salt water",)),
        ("6-3", "Your task is to use chemistry to create red-orange paint. When", [], ("red-orange paint",)),
        ("7-3", "Your task is", ["focus on baby brown bear", "focus on baby ant"], ("brown bear", "ant")),
        ("8-2", "Your task is to focus on the life stages of the apple plant, starting", [], ("apple",)),
        ("9-1", "which of the two inclined planes (C, B) has", [], ("plane c", "plane b")),
        ("9-2", "which of the two inclined planes (paper, cloth) has", [], ("paper", "cloth")),
        ("10-2", "whether blue seed color is a trait in the unknown E plant.", [], ("seed color of unknown e",)),
    ],
)  # fmt: skip
def test_instruction_and_actions_give_the_things_of_a_variation(
    task: str, instruction: str, actions: list[str], things: tuple[str, ...]
) -> None:
    assert things_of(task, instruction, actions) == things


def test_an_instruction_without_a_thing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names no thing of a fold"):
        things_of("1-1", "Your task is to sing.")


def test_every_recorded_training_variation_is_in_a_fold() -> None:
    paths = folded(trajectories())
    recorded = {
        (trajectory.task_id, trajectory.variation) for trajectory in trajectories() if trajectory.split == "train"
    }
    assert {(path.task_id, path.variation) for path in paths} == recorded
    assert all(path.folds for path in paths)


def test_every_task_type_is_in_two_folds_at_least() -> None:
    paths = folded(trajectories())
    for task in TASKS:
        folds = frozenset[int]().union(*(path.folds for path in paths if path.task_id == task.id))
        assert len(folds) >= (2 if task.id in ("6-2", "10-1") else 3), task.id


def test_no_thing_of_a_fold_is_asked_for_outside_it() -> None:
    for fold in FOLDS:
        is_left_out = left_out(trajectories(), fold)
        within = {
            (trajectory.task_id, trajectory.variation) for trajectory in trajectories() if is_left_out(trajectory)
        }
        for path in folded(trajectories()):
            if (path.task_id, path.variation) not in within:
                assert all(fold_of(thing) != fold for thing in path.things)


def test_training_without_a_fold_selects_on_the_folds_paths() -> None:
    is_left_out = left_out(trajectories(), 1)
    chosen = by_fold(trajectories(), 1)
    assert chosen["train"]
    assert not any(map(is_left_out, chosen["train"]))
    assert {path.split for path in chosen["train"]} == {"train"}
    assert {(path.split, path.take, is_left_out(path)) for path in chosen["dev"]} == {("train", 0, True)}
    assert {path.task_id for path in chosen["dev"]} == {task.id for task in TASKS}


def test_a_fold_plays_training_variations_of_many_things() -> None:
    chosen = held_out(trajectories(), 0, 6)
    assert len(chosen) == 30
    for task, things in chosen.items():
        variations = [variation for own in things.values() for variation in own]
        assert 0 < len(variations) == len(set(variations)) <= 6
        assert {find_task(task).split_of(variation) for variation in variations} == {"train"}
    assert len(chosen["9-2"]) == 6


def test_there_is_no_fourth_fold() -> None:
    with pytest.raises(InvalidInput, match="Folds are 0, 1, 2"):
        held_out(trajectories(), 3, 6)


def test_the_table_of_the_documentation_is_that_of_the_data() -> None:
    assert table(trajectories()) in (Path(__file__).parents[2] / "docs" / "reference" / "folds.md").read_text()
