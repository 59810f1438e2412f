"""One system call for an answer that is written in parts."""

from __future__ import annotations

import asyncio
from typing import Any


class OneWrite:
    """A transport that sends what is written in one round of the event loop at once, or when it is told to.

    uvicorn writes a head, then a body. Sent apart, each costs a system call here and wakes whoever reads there.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send this at the end of the round."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Send it now."""
        if self._parts and not self._transport.is_closing():
            self._transport.write(b"".join(self._parts))
        self._parts.clear()

    def close(self) -> None:
        """Send what is written, then close."""
        self.flush()
        self._transport.close()
