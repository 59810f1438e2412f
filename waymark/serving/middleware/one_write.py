"""Send an answer that is written in parts with one system call."""

from __future__ import annotations

import asyncio
from typing import Any


class OneWrite:
    """A transport that collects all writes of one round of the event loop and sends them together.

    uvicorn writes the head and the body separately. Each write would cost a system call and wake the reader.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """All other methods are those of the wrapped transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data at the end of this round of the event loop, or at the next `flush`."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send all collected data now."""
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()

    def close(self) -> None:
        """Send all collected data, then close the transport."""
        self.flush()
        self._transport.close()
