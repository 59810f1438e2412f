"""Real states to ask with: those that ship, or those of a recorded run.

Both come from play, wrong turns included, with the history that an agent would send. The sample that ships is
drawn from one `./run evaluate`: the first test variation of each of the 30 tasks, played by the models that
ship. A run's records do not hold the task's words; those of the sample for the same task type stand in, and the
states before a run's first action are left out, because the look before it is not recorded either.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from waymark import state as fold
from waymark.contracts import AgentState, Contract, EpisodeResult
from waymark.errors import InvalidInput
from waymark.runs import RunFolder

_SAMPLE = "sample.jsonl.gz"
_HISTORY = 10
"""Turns that a state carries: what the shipped prompt formats read."""


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
    """All states of a run's episodes after their first action. Raises NotFound, InvalidInput."""
    run = RunFolder(folder)
    run.evaluation()
    words = {one.task: one.state.task for one in sample()}
    found = tuple(one for result in run.results() for one in _moments(result, words[result.task]))
    if not found:
        raise InvalidInput(f"The run in {folder} holds no turns.", remedy="Name one with finished episodes.")
    return found


def _moments(result: EpisodeResult, task: str) -> Iterator[RecordedState]:
    """The moments of one episode after its first action, in order."""
    state = fold.start(task, "", "")
    for turn in result.trajectory:
        if turn.controller_called and state.turns:
            yield RecordedState(task=result.task, asked="controller", state=fold.recent(state, _HISTORY))
        if turn.subgoal is not None:
            state = fold.with_subgoal(state, turn.subgoal)
        if state.turns:
            yield RecordedState(task=result.task, asked="executor", state=fold.recent(state, _HISTORY))
        if turn.action is not None:
            state = fold.after_step(state, turn.action, turn.observation, turn.look, turn.inventory, turn.score)
