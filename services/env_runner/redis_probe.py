"""Checks whether Redis answers, for health routes that must answer soon themselves.

Readers that wait for a hanging Redis occupy the service's threads. A probe has a thread of its own and waits at most
`PROBE_SECONDS`; callers in the meantime share its result.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from waymark.errors import JobStoreUnavailable

PROBE_SECONDS: Final = 2.0


class RedisProbe:
    """Asks with `ping`, which raises JobStoreUnavailable. Thread-safe."""

    def __init__(self, ping: Callable[[], None], seconds: float = PROBE_SECONDS) -> None:
        self._ping = ping
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redis-probe")
        self._lock = threading.Lock()
        self._ping_under_way: Future[None] | None = None

    async def check(self) -> None:
        """Return if Redis answers. Raises JobStoreUnavailable."""
        answer = asyncio.wrap_future(self._ask())
        await asyncio.wait([answer], timeout=self._seconds)
        if not answer.done():
            answer.add_done_callback(_forget)
            raise self._silent()
        answer.result()

    def check_in_thread(self) -> None:
        """The same for a caller that has a thread to wait in."""
        try:
            self._ask().result(self._seconds)
        except TimeoutError:
            raise self._silent() from None

    def _ask(self) -> Future[None]:
        with self._lock:
            if self._ping_under_way is None or self._ping_under_way.done():
                self._ping_under_way = self._thread.submit(self._ping)
            return self._ping_under_way

    def _silent(self) -> JobStoreUnavailable:
        return JobStoreUnavailable(
            f"Redis has not answered within {self._seconds:g} s.", remedy="Look at Redis; it may hang or be overloaded."
        )


def _forget(answer: asyncio.Future[None]) -> None:
    """Log the end of a probe for which no caller waits any more."""
    if not answer.cancelled():
        answer.exception()
