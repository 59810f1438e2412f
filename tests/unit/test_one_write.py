"""What is written to a connection in one round of the event loop goes out at once, and an answer when it is whole."""

from __future__ import annotations

import asyncio

import pytest
from uvicorn import Config
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.server import ServerState

from waymark.serving.middleware.connections import Connection
from waymark.serving.middleware.one_write import OneWrite

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__({"peername": "caller"})
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.closed

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True


async def test_writes_of_one_loop_round_are_sent_together_in_order() -> None:
    wire = Wire()
    joined = OneWrite(wire, asyncio.get_running_loop())
    joined.write(b"head ")
    joined.write(b"body")
    assert not wire.sent
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)
    assert wire.sent == [b"head body", b"next"]
    assert joined.get_extra_info("peername") == "caller"


async def test_writes_before_a_close_are_sent_later_ones_dropped() -> None:
    wire = Wire()
    joined = OneWrite(wire, asyncio.get_running_loop())
    joined.write(b"last")
    joined.close()
    joined.write(b"late")
    await asyncio.sleep(0)
    assert wire.sent == [b"last"]


async def test_a_complete_answer_is_sent_at_once_in_one_piece() -> None:
    wire = Wire()
    sent_after: list[int] = []

    async def answer(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        for part, more in ((b"bo", True), (b"dy", False)):
            await send({"type": "http.response.body", "body": part, "more_body": more})
            sent_after.append(len(wire.sent))

    config = Config(answer, log_config=None, lifespan="off")
    config.load()
    protocol = Connection(config, ServerState(), {}, asyncio.get_running_loop())
    protocol.connection_made(wire)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: s\r\n\r\n")
    while len(sent_after) < 2:  # noqa: ASYNC110 - it needs but some rounds of the loop
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent_after == [0, 1]
    (written,) = wire.sent
    assert written.startswith(b"HTTP/1.1 200 OK")
    assert written.endswith(b"\r\n\r\nbody")
    protocol.transport.close()
