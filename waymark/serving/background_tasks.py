"""Supervises the background tasks of a service: each has a name, is restarted when it dies, and is reported."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from waymark.contracts.health import TaskHealth

STALL_SECONDS = 60.0
"""A task that reports no progress for this long is called stalled."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STOP_SECONDS = 10.0
"""How long tasks may take to end by themselves before they are cancelled."""

Beat = Callable[[], None]
"""A function that a task calls whenever it makes progress, from any thread."""
Run = Callable[[Beat], Awaitable[None]]
_log = logging.getLogger("waymark")


def utc_now() -> str:
    """The present time in the format of health reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class _Task:
    name: str
    run: Run
    since: str
    beaten: float
    """On the monotonic clock: the last sign of progress."""
    beaten_at: str
    problem: str = ""
    """Why it died; empty once it makes progress again."""


class Supervisor:
    """Runs tasks until it is stopped. A task that raises, or returns early, has died.

    It is logged once for each cause, makes the service unready until it makes progress again, and is restarted after
    pauses that grow from FIRST_PAUSE to LONGEST_PAUSE seconds.
    """

    def __init__(
        self,
        *,
        stall_seconds: float = STALL_SECONDS,
        first_pause: float = FIRST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._stall_seconds = stall_seconds
        self._first_pause = first_pause
        self._clock = clock
        self._now = now
        self._tasks: list[_Task] = []
        self._running: list[asyncio.Task[None]] = []
        self.stopping = asyncio.Event()
        """Set when tasks should come to their end."""

    def add(self, name: str, run: Run) -> None:
        """Register a task; it begins with `start`."""
        self._tasks.append(_Task(name, run, self._now(), self._clock(), self._now()))

    def start(self) -> None:
        """Begin all tasks. On the event loop."""
        self._running = [asyncio.create_task(self._keep(task), name=task.name) for task in self._tasks]

    async def stop(self) -> None:
        """Let every task end; cancel those that do not within STOP_SECONDS."""
        self.stopping.set()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds, or until the supervisor stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    def report(self) -> tuple[TaskHealth, ...]:
        """The state of every task."""
        return tuple(self._report(task) for task in self._tasks)

    def _report(self, task: _Task) -> TaskHealth:
        state: Literal["running", "failed", "stalled"] = "running"
        since, problem = task.since, task.problem
        if problem:
            state = "failed"
        elif self._clock() - task.beaten > self._stall_seconds:
            state, since, problem = "stalled", task.beaten_at, "It has made no progress since then."
        return TaskHealth(name=task.name, state=state, since=since, problem=problem)

    async def _keep(self, task: _Task) -> None:
        pause = self._first_pause
        logged: set[str] = set()

        def beat() -> None:
            nonlocal pause
            task.beaten, task.beaten_at = self._clock(), self._now()
            if task.problem:
                _log.warning("The background task %s works again.", task.name)
                task.problem, task.since = "", self._now()
                logged.clear()
                pause = self._first_pause

        while not self.stopping.is_set():
            try:
                await task.run(beat)
                problem, cause = "It ended by itself.", None
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the service in silence
                problem, cause = f"{type(error).__name__}: {error}", error
            if self.stopping.is_set():
                return
            if not task.problem:
                task.since = self._now()
            task.problem = problem
            if problem not in logged:
                logged.add(problem)
                text = "The background task %s died and is started again: %s"
                _log.error(text, task.name, problem, exc_info=cause)
            await self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
