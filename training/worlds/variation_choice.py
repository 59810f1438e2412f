"""Chooses the variations of a split to record, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from waymark.worlds.base import Split, TaskType

_T = TypeVar("_T")


def spread(task: TaskType, split: Split, limit: int) -> list[int]:
    """At most `limit` variations of a split, evenly spaced, so that they cover its kinds of rooms."""
    variations = task.split(split)
    count = min(limit, len(variations))
    return [variations[(index * len(variations)) // count] for index in range(count)]


def balanced(lists: Iterable[Sequence[_T]]) -> list[_T]:
    """The first item of every list, then the second of every list. So a run that is stopped early has some of each.

    >>> balanced([[1, 2, 3], [10]])
    [1, 10, 2, 3]
    """
    return [item for item in chain.from_iterable(zip_longest(*lists)) if item is not None]
