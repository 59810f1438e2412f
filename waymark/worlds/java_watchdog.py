"""Ends a JVM that does not answer in time or uses too much memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from waymark.operating_system.memory import resident_mb

LATE: Final = "did not answer within"
"""The beginning of the reason for a JVM that was ended because it did not answer in time."""
_WATCH_SECONDS: Final = 0.25


class Watchdog:
    """A thread for each slot that ends a JVM which does not answer in time or uses too much memory.

    A timer for each call would cost a tenth of a step's time.
    """

    def __init__(self, pid: int, timeout: float, memory_mb: float, end: Callable[[], None]) -> None:
        self.reason: str | None = None
        """Why it ended the JVM, e.g. `grew past 2000 MB`; None if it did not."""
        self._pid = pid
        self._timeout = timeout
        self._memory_mb = memory_mb
        self._end = end
        self._due: float | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="slot-watchdog", daemon=True).start()

    def expect_answer(self, seconds: float | None = None) -> None:
        """Begin a call, which may take `seconds` (default: the slot's own limit)."""
        self._due = time.monotonic() + (self._timeout if seconds is None else seconds)

    def answered(self) -> None:
        """End the call."""
        self._due = None

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(min(_WATCH_SECONDS, self._timeout / 4)):
            due = self._due
            if due is not None and time.monotonic() > due:
                self.reason = f"{LATE} {self._timeout:g} s"
            elif (resident_mb(self._pid) or 0) > self._memory_mb:
                self.reason = f"grew past {self._memory_mb:g} MB"
            if self.reason:
                self._end()
                return
