"""A lock for many holders at once, or for one alone: episodes of a worker play side by side, or one by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Held by many at once, or by one alone. One who wants it alone goes before those who come later."""

    def __init__(self) -> None:
        self._sharing = 0
        self._reserved = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it beside others, as soon as nobody wants it alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._reserved)
            self._sharing += 1
        try:
            yield
        finally:
            async with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it alone, as soon as those who share it have left."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._reserved)
            self._reserved = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._sharing)
            yield
        finally:
            async with self._changed:
                self._reserved = False
                self._changed.notify_all()
