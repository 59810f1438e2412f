"""Real states to ask with: those that ship, or those of a recorded run.

Both come from play, wrong turns included, with the history that an agent would send. The sample that ships is
drawn from one `./run evaluate`: the first test variation of each of the 30 tasks, played by the models that
ship. A run that was recorded before results held how an episode opened has nothing to ask with.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from waymark import state as fold
from waymark.contracts import AgentState, Contract, EpisodeResult, Opening
from waymark.errors import InvalidInput
from waymark.runs import RunFolder
from waymark.subgoals import COMPLETE, is_over

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
    """All states of a run's episodes at which a model was asked. Raises NotFound, InvalidInput."""
    run = RunFolder(folder)
    run.evaluation()
    found = tuple(one for result in run.results() if result.opening for one in _moments(result, result.opening))
    if not found:
        raise InvalidInput(
            f"The run in {folder} holds no turns, or was recorded before results held how an episode opened.",
            remedy="Name one with finished episodes, played since 2026-11-28.",
        )
    return found


def _moments(result: EpisodeResult, opening: Opening) -> Iterator[RecordedState]:
    """The moments of one episode, in order, each with the state that the loop had then."""
    state = fold.start(opening.task, opening.look, opening.inventory)
    for turn in result.trajectory:
        if is_over(state):
            state = fold.with_subgoal_ended(state)
        if turn.controller_called:
            yield RecordedState(task=result.task, asked="controller", state=fold.recent(state, _HISTORY))
        if turn.subgoal != COMPLETE:  # after that the loop waits without asking
            if turn.subgoal is not None:
                state = fold.with_subgoal(state, turn.subgoal)
            yield RecordedState(task=result.task, asked="executor", state=fold.recent(state, _HISTORY))
        if turn.action is not None:
            state = fold.after_step(state, turn.action, turn.observation, turn.look, turn.inventory, turn.score)
        if turn.action is None:
            state = fold.after_subgoal_ended(state)
        elif not turn.known:
            state = fold.with_subgoal_ended(state)
