"""A lock for many holders at once or for one exclusive holder: a worker's episodes play in parallel, or one plays
alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """A lock with shared and exclusive holders. A waiting exclusive holder goes before later shared ones."""

    def __init__(self) -> None:
        self._sharing = 0
        self._reserved = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it together with others, as soon as no exclusive holder has it or waits for it."""
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
        """Hold it exclusively, as soon as all shared holders have left."""
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
