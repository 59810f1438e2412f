"""Where a worker's episodes play side by side, or one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Floor:
    """Where episodes play side by side, or one alone."""

    def __init__(self) -> None:
        self._sharing = 0
        self._reserved = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """A place beside others, as soon as nobody wants it alone."""
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
        """The whole of it, as soon as those who share it have left."""
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
