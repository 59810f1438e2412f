"""The states for requests: the shipped sample, or those of a recorded run.

Both come from play, including wrong turns. The sample that ships was recorded by `python -m benchmarks.record_sample`
with the models that ship, on dev variations; `sample_origin` says which. A state carries the turns that a worker sent;
`missing_turns` finds states that have fewer turns than a worker would send to the service at hand. A run from before
results recorded the opening of an episode has no usable states.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from waymark.agent.replay import moments
from waymark.contracts import MOST_TURNS, AgentState, Contract, Versions
from waymark.errors import InvalidInput
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.scores import world_played

SAMPLE, ORIGIN = "sample.jsonl.gz", "sample.json"


class RecordedState(Contract):
    """One moment of an episode at which a model was asked."""

    task: str
    """Task id, e.g. `1-1`."""
    asked: Literal["controller", "executor"]
    state: AgentState


class SampleOrigin(Contract):
    """Where the states that ship come from."""

    command: str
    history_turns: int
    """The most turns that a state carries."""
    states: int
    episodes: tuple[str, ...]
    """`task/variation` of each, e.g. `1-1/14`."""
    versions: Versions
    """The versions with which they were played."""


@cache
def sample_origin() -> SampleOrigin:
    """Where the states that ship come from."""
    return SampleOrigin.model_validate_json((files(__package__) / ORIGIN).read_bytes())


@cache
def sample() -> tuple[RecordedState, ...]:
    """The states that ship with the package."""
    lines = gzip.decompress((files(__package__) / SAMPLE).read_bytes()).splitlines()
    return tuple(RecordedState.model_validate_json(line) for line in lines)


def from_run(folder: Path) -> tuple[RecordedState, ...]:
    """All states of a run's episodes at which a model was asked, with all turns. Raises NotFound, InvalidInput."""
    run = RunFolder(folder)
    world = world_played(run.evaluation().versions).agent
    states = tuple(
        RecordedState(task=result.task, asked=moment.asked, state=moment.state)
        for result in run.results()
        for moment in moments(result, MOST_TURNS, world)
    )
    if not states:
        raise InvalidInput(
            f"The run in {folder} holds no turns, or was recorded before results held how an episode opened.",
            remedy="Name one with finished episodes, played since 2026-11-28.",
        )
    return states


def missing_turns(states: Iterable[AgentState], history_turns: int) -> int:
    """How many of these states carry fewer turns than a worker sends to a service that reads `history_turns`."""
    return sum(len(state.turns) < min(history_turns, state.step - 1) for state in states)
