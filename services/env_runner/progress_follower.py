"""Reads an evaluation's progress for all followers of its events together, so many followers cost no more than one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.env_runner.queue import JobStore
from waymark.contracts import EvaluationStatus

FOLLOW_SECONDS = 0.25
"""Seconds between two reads of new commits, which are then written and sent as events."""
_FORGET_SECONDS = 60.0
"""Seconds without a request after which an evaluation is forgotten."""


@dataclass(frozen=True, slots=True)
class Look:
    """The progress of an evaluation."""

    status: EvaluationStatus
    newest: str
    """The id of its last event. All events up to it are on disk, and all results that the status counts are in them."""


def is_after(event: str, other: str) -> bool:
    """Whether one event came after another, by their ids."""
    return _place(event) > _place(other)


class Follower:
    """Reads at most once in `seconds`. `write` writes new results to disk before they are reported."""

    def __init__(self, store: JobStore, write: Callable[[str], Awaitable[None]], seconds: float) -> None:
        self._store = store
        self._write = write
        self._seconds = seconds
        self._looks: dict[str, tuple[float, asyncio.Task[Look]]] = {}
        self._written: dict[str, str] = {}

    async def look(self, evaluation_id: str) -> Look:
        """The progress of an evaluation. Raises NotFound, RecordDamaged, JobStoreUnavailable."""
        now = asyncio.get_running_loop().time()
        began, looking = self._looks.get(evaluation_id, (now - self._seconds, None))
        if looking is None or (looking.done() and now - began >= self._seconds):
            self._forget(now)
            looking = asyncio.create_task(self._look(evaluation_id))
            looking.add_done_callback(_note)
            self._looks[evaluation_id] = now, looking
        return await asyncio.shield(looking)

    async def _look(self, evaluation_id: str) -> Look:
        status, newest = await asyncio.to_thread(self._ask, evaluation_id)
        if newest != self._written.get(evaluation_id):
            await self._write(evaluation_id)
            self._written[evaluation_id] = newest
        return Look(status, newest)

    def _ask(self, evaluation_id: str) -> tuple[EvaluationStatus, str]:
        status = self._store.status(evaluation_id)  # first, so that an end comes after its results
        return status, self._store.newest_event(evaluation_id)

    def _forget(self, now: float) -> None:
        for name in [name for name, (began, _) in self._looks.items() if now - began > _FORGET_SECONDS]:
            del self._looks[name]
            self._written.pop(name, None)


def _place(event: str) -> tuple[int, ...]:
    return tuple(map(int, event.split("-")))


def _note(looking: asyncio.Task[Look]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not looking.cancelled():
        looking.exception()
