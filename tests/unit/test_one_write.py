"""What is written to a connection in one round of the event loop goes out at once."""

from __future__ import annotations

import asyncio

import pytest

from waymark.serving.run import OneWrite

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


async def test_what_is_written_in_one_round_is_sent_at_once_and_in_order() -> None:
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


async def test_what_is_written_before_a_close_is_sent_and_nothing_to_a_closed_wire() -> None:
    wire = Wire()
    joined = OneWrite(wire, asyncio.get_running_loop())
    joined.write(b"last")
    joined.close()
    joined.write(b"late")
    await asyncio.sleep(0)
    assert wire.sent == [b"last"]
