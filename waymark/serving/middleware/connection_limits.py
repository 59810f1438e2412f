"""Limits on the number of open connections and on their times, and the choice of those to close."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from waymark.serving.middleware.connections import Connection

Reason = Literal[
    "head_too_large",
    "head_timeout",
    "body_timeout",
    "idle",
    "not_reading",
    "pipelining",
    "too_many",
    "replaced",
    "body_in_pieces",
]
"""Why a connection was closed by the service."""

_LOOK_SECONDS: Final = 1.0
_SPARE_FILES: Final = 32
_RESCAN_SECONDS: Final = 0.05
_CLOSED_AT_ONCE: Final = 8
"""Connections that are closed in one round of the event loop. Hundreds may expire together."""


@dataclass(frozen=True)
class ConnectionLimits:
    """See `connections`; sizes in bytes, times in seconds."""

    connections: int = 2_048
    head_bytes: int = 65_536
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    body_rate: float = 1_000.0
    idle_seconds: float = 5.0
    write_seconds: float = 30.0

    @property
    def look_seconds(self) -> float:
        """How often connections are looked at."""
        shortest = min(self.head_seconds, self.body_seconds, self.idle_seconds, self.write_seconds)
        return max(0.02, min(_LOOK_SECONDS, shortest / 4))


class Guard:
    """The connections of one server: it limits their number and times, and chooses those to close."""

    def __init__(
        self, limits: ConnectionLimits | None = None, count: Callable[[Reason], object] = lambda _: None
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self.count = count
        self.open: set[Connection] = set()
        self.refused: set[Connection] = set()
        """The connections over the limit that stay open until their callers have read the refusal."""
        self._most = self.limits.connections
        self._replaceable: list[Connection] = []
        self._scan_at = 0.0

    async def watch(self) -> None:
        """Close connections that are over their time limits, until cancelled.

        A look that comes late closes nothing, because callers could do nothing while the event loop or the machine
        stood still. The look after it always decides. Otherwise a busy service would never close any.
        """
        loop, look = asyncio.get_running_loop(), self.limits.look_seconds
        due, judged = loop.time(), True
        while True:
            self._most = min(self.limits.connections, _room_for_connections(len(self.open) + len(self.refused)))
            now = loop.time()
            judged = not judged or now - due <= look
            if judged:
                await self._close_overdue(now)
            due = loop.time() + look
            await asyncio.sleep(look)

    async def _close_overdue(self, now: float) -> None:
        """Close overdue connections, a few in each round of the event loop. Some may end meanwhile."""
        closed = 0
        for connection in (*self.open, *self.refused):
            if (connection in self.open or connection in self.refused) and connection.check(now):
                closed += 1
                if closed % _CLOSED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def has_room(self, now: float) -> bool:
        """Whether one more connection may be opened. If needed, closes one that waits for a request to make room."""
        if len(self.open) < self._most:
            return True
        if not self._replaceable and now >= self._scan_at:
            self._scan_at = now + _RESCAN_SECONDS
            waiting = [connection for connection in self.open if connection.waits_since(now) is not None]
            self._replaceable = sorted(waiting, key=lambda connection: connection.waits_since(now) or 0, reverse=True)
        while self._replaceable:
            oldest = self._replaceable.pop()
            if oldest in self.open and oldest.waits_since(now) is not None and not oldest.has_unread():
                self.count("replaced")
                oldest.make_room()
                return True
        return False

    def can_linger(self, connection: Connection) -> bool:
        """Whether a connection over the limit may stay open for a while, so that its caller can read the refusal.

        Such connections use at most half of the spare files.
        """
        if len(self.refused) >= _spare_files() // 2:
            return False
        self.refused.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Count a closed connection no more."""
        self.open.discard(connection)
        self.refused.discard(connection)


def _spare_files() -> int:
    """File descriptors kept free for everything except connections: fewer where a process may open few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _SPARE_FILES if soft == resource.RLIM_INFINITY else min(_SPARE_FILES, soft // 4)


def _room_for_connections(connections: int) -> int:
    """How many connections the limit on open files leaves room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    try:
        others = len(os.listdir("/proc/self/fd")) - connections
    except OSError:  # not on Linux
        others = 64
    return max(1, soft - max(0, others) - _spare_files())
