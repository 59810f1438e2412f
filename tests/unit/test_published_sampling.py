"""Which variations the published data hold."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.oracle import trajectories
from training.datasets import missing, sample
from training.trajectories import Trajectory
from training.worlds.scienceworld.gold_paths import PUBLISHED_LIMITS, plan, published_variations
from waymark.worlds.scienceworld.tasks import SPLITS, TASKS, find_task


def path(task: str, variation: int) -> Trajectory:
    return replace(trajectories()[0], task_id=task, variation=variation, split=find_task(task).split_of(variation))


def test_published_sampling_keeps_the_published_train_variations() -> None:
    tasks = [find_task(task) for task in ("3-3", "9-2", "10-1", "4-1")]
    paths = [path(task.id, number) for task in tasks for number in range(task.train + task.dev)]
    kept = sample(paths, "published")
    for task in tasks:
        numbers = {
            kept_path.variation for kept_path in kept if kept_path.task_id == task.id and kept_path.split == "train"
        }
        assert numbers == {variation for variation in published_variations(task) if task.split_of(variation) == "train"}
    assert [kept_path for kept_path in kept if kept_path.task_id == "4-1" or kept_path.split == "dev"] == [
        kept_path for kept_path in paths if kept_path.task_id == "4-1" or kept_path.split == "dev"
    ]


def test_published_variations_are_shuffled_over_all_splits() -> None:
    for task_id, most in PUBLISHED_LIMITS.items():
        task = find_task(task_id)
        published = published_variations(task)
        assert len(set(published)) == len(published) <= most
        assert published != sorted(published)
        assert {task.split_of(variation) for variation in published} == set(SPLITS)
        expected = list(range(task.variations))
        random.seed(1)
        random.shuffle(expected)
        assert published == expected[: len(published)]


def test_a_task_stops_at_its_tenth_published_test_variation() -> None:
    for task in TASKS:
        published = published_variations(task)
        tested = [variation for variation in published if task.split_of(variation) == "test"]
        assert len(tested) == min(9, task.test) or (task.id in PUBLISHED_LIMITS and len(tested) < 9)


def test_sampling_follows_its_seed_and_keeps_whole_variations() -> None:
    paths = [path("9-2", number) for number in (*range(200), *range(200))]
    kept = sample(paths, "published", seed=1)
    assert kept == sample(paths, "published", seed=1) != sample(paths, "published", seed=2)
    assert len(kept) == 2 * len({kept_path.variation for kept_path in kept}) > 0
    assert sample(paths, "all", seed=1) == paths


def test_published_variations_that_were_not_recorded_are_counted() -> None:
    task = find_task("8-2")
    assert missing([path("8-2", number) for number in range(1)])["8-2"] == task.train - 1
    assert "8-2" not in missing([path("8-2", number) for number in range(task.train)])


def test_a_plan_holds_the_published_variations_of_its_splits() -> None:
    tasks = [find_task("9-2"), find_task("4-1")]
    wanted = plan(["train"], None, "easy", tasks)
    assert [variation.task_id for variation in wanted[:4]] == ["9-2", "4-1", "9-2", "4-1"]
    for task in tasks:
        trained = [variation for variation in published_variations(task) if task.split_of(variation) == "train"]
        assert [variation.variation for variation in wanted if variation.task_id == task.id] == trained
    assert {(variation.takes, variation.misplaced) for variation in wanted} == {(0, 0)}
    assert len(plan(["train", "dev"], 2, "easy", tasks)) == 8
