"""Finds abandoned leases: those without renewal for a period, by the monotonic clock of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Sighting(NamedTuple):
    """A lease as it was seen. Any renewal or delivery changes the last two fields."""

    evaluation: str
    entry: str
    deliveries: int
    renewals: int


class Silence:
    """Remembers since when each lease has not changed. Thread-safe.

    A lease is silent if it has not changed for `seconds`. So a new process must watch a lease for that long before it
    may take it.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[Sighting, float] = {}

    def note(self, lease: Sighting) -> None:
        """Remember a lease that this process itself was given or renewed."""
        with self._lock:
            for earlier in [
                holder for holder in self._since if (holder.evaluation, holder.entry) == (lease.evaluation, lease.entry)
            ]:
                del self._since[earlier]
            self._since[lease] = self._clock()

    def look(self, leases: Iterable[Sighting]) -> list[Sighting]:
        """Record the present leases; returns those that are silent."""
        now = self._clock()
        with self._lock:
            self._since = {lease: self._since.get(lease, now) for lease in leases}
            return [lease for lease, since in self._since.items() if now - since >= self._seconds]
