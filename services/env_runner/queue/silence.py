"""Which leases have fallen silent, by the monotonic clock of the process that looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Sighting(NamedTuple):
    """A lease as it was seen: any sign of life of its holder changes the last two."""

    evaluation: str
    entry: str
    deliveries: int
    renewals: int


class Silence:
    """Remembers since when each lease looks as it does. Thread-safe.

    A lease is silent once it has looked the same for `seconds`. A process that begins to look must therefore watch a
    lease for that long before it may take it over.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[Sighting, float] = {}

    def note(self, lease: Sighting) -> None:
        """Remember a lease that this process itself was given or renewed."""
        with self._lock:
            for seen in [
                known for known in self._since if (known.evaluation, known.entry) == (lease.evaluation, lease.entry)
            ]:
                del self._since[seen]
            self._since[lease] = self._clock()

    def look(self, leases: Iterable[Sighting]) -> list[Sighting]:
        """Take note of all leases that there are; returns those that are silent."""
        now = self._clock()
        with self._lock:
            self._since = {lease: self._since.get(lease, now) for lease in leases}
            return [lease for lease, since in self._since.items() if now - since >= self._seconds]
