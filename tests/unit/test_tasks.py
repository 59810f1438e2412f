"""The task table, as far as it can be checked without the simulator."""

from __future__ import annotations

from collections import Counter

import pytest

from waymark.errors import InvalidInput
from waymark.worlds.scienceworld.tasks import GROUPS, SPLITS, TASKS, check_variation, find_task


def test_the_table_has_the_published_totals() -> None:
    assert len({task.id for task in TASKS}) == len({task.name for task in TASKS}) == 30
    assert [sum(len(task.split(split)) for task in TASKS) for split in SPLITS] == [3592, 1796, 1819]
    assert [Counter(task.group for task in TASKS)[group] for group in GROUPS] == [10, 8, 12]


def test_splits_follow_each_other_and_cover_all_variations() -> None:
    for task in TASKS:
        parts = [number for split in SPLITS for number in task.split(split)]
        assert parts == list(range(task.variations))
        assert all(task.split_of(number) == split for split in SPLITS for number in task.split(split))


def test_a_task_is_found_by_id_and_by_name() -> None:
    assert find_task("4-2") is find_task(" find-non-living-thing ")


def test_an_unknown_task_lists_the_known_ids() -> None:
    with pytest.raises(InvalidInput, match="1-1, 1-2") as caught:
        find_task("11-1")
    assert caught.value.field == "tasks"


@pytest.mark.parametrize("variation", [-1, 30])
def test_a_variation_out_of_range_names_the_range(variation: int) -> None:
    with pytest.raises(InvalidInput, match=r"0 to 29; test variations are 21 to 29") as caught:
        check_variation(find_task("1-1"), variation)
    assert caught.value.field == "variations"
    assert check_variation(find_task("1-1"), 29) == 29
