"""Ensures that an evaluation is played by the checkpoints for which it was submitted.

`Refusals` are evaluations whose leases a worker leaves to others, because its services serve other checkpoints. A
`Gate` checks each answer of the services for one episode. While another checkpoint answers, the episode is paused, and
the question is repeated until the right checkpoint answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from waymark.agent.model_ports import Controller, Executor
from waymark.contracts import (
    ActionResponse,
    AgentState,
    Asked,
    CheckpointInfo,
    CheckpointMismatch,
    MadeBy,
    SubgoalResponse,
    Versions,
)
from waymark.errors import WrongCheckpoint
from waymark.evaluation.checkpoint_identity import ASKED, Difference, describe, model_of, short_hash

CHECKPOINT_WAIT_SECONDS: Final = 300.0
"""Seconds for which an episode stays paused before it goes back to the queue."""
_POLITE_PART: Final = 60
"""A paused episode keeps its slot for at least `CHECKPOINT_WAIT_SECONDS` divided by this number, even if others
wait."""
REFUSE_SECONDS: Final = 5.0
"""Seconds for which an evaluation is left to other workers before its checkpoints are checked again."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

_Answer = TypeVar("_Answer", SubgoalResponse, ActionResponse)
_Report = Callable[[CheckpointMismatch | None], Awaitable[None]]
_log = logging.getLogger(__name__)


async def _nobody() -> bool:
    return False


class Refusals:
    """The evaluations that a worker does not play for now, each named in the log once for each reason."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._until: dict[str, float] = {}
        self._reasons: dict[str, CheckpointMismatch] = {}

    def current(self) -> list[str]:
        """Evaluations to skip now."""
        now = time.monotonic()
        return [evaluation for evaluation, until in self._until.items() if until > now]

    def add(self, evaluation: str, difference: Difference) -> CheckpointMismatch:
        """Leave an evaluation to others for a while. Returns the reason, with since when it holds."""
        self._until[evaluation] = time.monotonic() + REFUSE_SECONDS
        before = self._reasons.get(evaluation)
        if before is not None and (before.what, before.expected, before.found) == difference:
            return before
        reason = mismatch(difference, self._worker)
        self._reasons[evaluation] = reason
        _log.warning("Evaluation %s is left to other workers: its %s.", evaluation, reason)
        return reason

    def known(self) -> frozenset[str]:
        """Evaluations that were refused when they were looked at last."""
        return frozenset(self._reasons)

    def remove(self, evaluation: str) -> bool:
        """Play it again. Returns whether it had been refused."""
        self._until.pop(evaluation, None)
        if self._reasons.pop(evaluation, None) is None:
            return False
        _log.warning("Evaluation %s is played here again: its checkpoints are back.", evaluation)
        return True


class Gate:
    """Passes only answers of the evaluation's own checkpoints to one episode.

    While the episode is paused, `report` is called repeatedly with the reason, and with None when the episode
    continues. After a pause of `wait_seconds`, or when `should_stop` returns true, the question raises WrongCheckpoint.
    If `others_wait` says that other evaluations need the slot, it raises it after a small part of that time.
    """

    def __init__(
        self,
        versions: Versions,
        *,
        episode: str,
        worker: str,
        report: _Report,
        should_stop: Callable[[], bool],
        wait_seconds: float,
        others_wait: Callable[[], Awaitable[bool]] = _nobody,
    ) -> None:
        self._made_by: dict[Asked, str] = {}
        self.unnamed = False
        """Whether a server of an older version answered, which does not say what it runs."""
        self._versions = versions
        self._episode = episode
        self._worker = worker
        self._report = report
        self._should_stop = should_stop
        self._wait_seconds = wait_seconds
        self._others_wait = others_wait

    @property
    def made_by(self) -> MadeBy:
        """The checkpoints that answered."""
        return MadeBy(**self._made_by)

    async def ask(self, asked: Asked, question: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer of the right checkpoint. Raises WrongCheckpoint, and what the question raises."""
        expected = model_of(self._versions, asked)
        paused: CheckpointMismatch | None = None
        began, pause = time.monotonic(), _FIRST_PAUSE
        while not _is_from(answer := await question(), expected):
            if paused is None:
                difference = Difference(ASKED[asked], describe(expected), _origin_of(answer))
                began, paused = time.monotonic(), mismatch(difference, self._worker)
                _log.warning("Episode %s is paused: its %s.", self._episode, paused)
            await self._report(paused)
            if self._should_stop() or await self._is_over(time.monotonic() - began):
                raise WrongCheckpoint(
                    f"The {paused}.", remedy="Start the service with the checkpoint that it was submitted for."
                )
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)
        if paused is not None:
            await self._report(None)
            _log.warning("Episode %s goes on: %s answers again.", self._episode, paused.expected)
        if answer.checkpoint_sha256 is None:
            self.unnamed = True
        else:
            self._made_by[asked] = short_hash(answer.checkpoint_sha256)
        return answer

    async def _is_over(self, seconds: float) -> bool:
        """Whether an episode gives up its slot after a pause of so many seconds."""
        if seconds >= self._wait_seconds:
            return True
        return seconds >= self._wait_seconds / _POLITE_PART and await self._others_wait()


class CheckedController:
    """Implements the loop's `Controller` over another one, behind a gate."""

    def __init__(self, controller: Controller, gate: Gate, versions: Versions) -> None:
        self._controller = controller
        self._gate = gate
        self._has_first = versions.first is not None

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        begins = model == "default" and not state.turns and state.current_subgoal is None
        asked: Asked = "first" if begins and self._has_first else "controller"
        return await self._gate.ask(asked, lambda: self._controller.subgoal(state, n=n, model=model))


class CheckedExecutor:
    """Implements the loop's `Executor` over another one, behind a gate."""

    def __init__(self, executor: Executor, gate: Gate) -> None:
        self._executor = executor
        self._gate = gate

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        return await self._gate.ask(
            "executor", lambda: self._executor.action(state, n=n, model=model, valid_actions=valid_actions)
        )


def mismatch(difference: Difference, worker: str) -> CheckpointMismatch:
    """A difference in the form in which evaluations report it, beginning now."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return CheckpointMismatch(**difference._asdict(), worker=worker, since=since)


def _is_from(answer: SubgoalResponse | ActionResponse, expected: CheckpointInfo | None) -> bool:
    """Whether this checkpoint gave the answer; true if the answer does not say."""
    if answer.checkpoint_sha256 is None:
        return True
    if expected is None or answer.checkpoint_sha256 != expected.sha256:
        return False
    return answer.runtime in (None, expected.runtime)


def _origin_of(answer: SubgoalResponse | ActionResponse) -> str:
    return f"{answer.model} ({short_hash(answer.checkpoint_sha256 or '')}, {answer.runtime})"
