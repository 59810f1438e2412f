"""Real states to ask with: those that ship, or those of a recorded run.

Both come from play, wrong turns included, with the history that an agent would send. The sample that ships is
drawn from one `./run evaluate`: the first test variation of each of the 30 tasks, played by the models that
ship. A run that was recorded before results held how an episode opened has nothing to ask with.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from waymark.contracts import AgentState, Contract
from waymark.errors import InvalidInput
from waymark.replay import moments
from waymark.runs import RunFolder

_SAMPLE = "sample.jsonl.gz"
MOST_TURNS = 1_000
"""What a request may carry; a load test sends as many turns as the service reads."""


class RecordedState(Contract):
    """One moment of an episode at which a model was asked."""

    task: str
    """Task id, e.g. `1-1`."""
    asked: Literal["controller", "executor"]
    state: AgentState


@cache
def sample() -> tuple[RecordedState, ...]:
    """The states that ship with the package."""
    lines = gzip.decompress((files(__package__) / _SAMPLE).read_bytes()).splitlines()
    return tuple(RecordedState.model_validate_json(line) for line in lines)


def from_run(folder: Path) -> tuple[RecordedState, ...]:
    """All states of a run's episodes at which a model was asked, with all turns. Raises NotFound, InvalidInput."""
    run = RunFolder(folder)
    run.evaluation()
    found = tuple(
        RecordedState(task=result.task, asked=moment.asked, state=moment.state)
        for result in run.results()
        for moment in moments(result, MOST_TURNS)
    )
    if not found:
        raise InvalidInput(
            f"The run in {folder} holds no turns, or was recorded before results held how an episode opened.",
            remedy="Name one with finished episodes, played since 2026-11-28.",
        )
    return found
