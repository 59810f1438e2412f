"""The text of a large model's answer is read in linear time, however hostile it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from training.llm.prompts import _SUBGOAL
from waymark.agent.subgoal_sources.llm_plan import read

SIZES = (5_000, 20_000)
GROWTH = 10
"""Four times the text: 4 where time is linear, 16 where it is quadratic."""
HOSTILE = (
    "a",
    "a(",
    "a()",
    "1. a(",
    "1. a(b(",
    "1",
    "1.",
    "1 ",
    "<think>",
    " ",
    "*",
    "a():",
    "a(b): [",
    "(",
    "`",
    "1. a(b) ",
)


def seconds(function: Callable[[str], object], text: str) -> float:
    """CPU time of the fastest of three calls."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        function(text)
        taken.append(time.process_time() - began)
    return min(taken)


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("function", [read, _SUBGOAL.findall], ids=["plan", "annotation"])
def test_reading_time_grows_in_proportion_to_the_text(function: Callable[[str], object], piece: str) -> None:
    short, long = (seconds(function, piece * (size // len(piece))) for size in SIZES)
    assert long < max(GROWTH * short, 0.05)
