"""Requests over HTTP/1.1 at the least cost, for load from the machine that also runs the service.

Load and service share the cores, so each microsecond that a library for HTTP takes is missing in the service. With
aiohttp a request costs 160 to 260 microseconds.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast
from urllib.parse import urlsplit

from waymark.loadtest.load_loops import Outcome

_TIMEOUT_SECONDS = 60
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close")


def head_of(url: str, document: bytes) -> bytes:
    """The head of a request with this JSON document, without the empty line at its end."""
    address = urlsplit(url)
    lines = [
        f"POST {address.path} HTTP/1.1",
        f"Host: {address.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(document)}",
    ]
    return "\r\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    head: bytes


class AnswerReader:
    """Finds the end of each answer in what a connection receives."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._head_bytes = self._length = 0
        """Of the answer's head, and of all of it; 0 until its head has come."""

    def feed(self, data: bytes) -> Answer | None:
        """The answer if this completes it. Raises ValueError for an answer without a length."""
        self._read += data
        if not self._length:
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._head_bytes = end
            length = _LENGTH.search(self._read, 0, end)
            if length is None:
                raise ValueError(f"An answer without Content-Length: {bytes(self._read[:end])!r}")
            self._length = end + 4 + int(length[1])
        if len(self._read) < self._length:
            return None
        answer = Answer(int(self._read[9:12]), bytes(self._read[: self._head_bytes]))
        self._read.clear()
        self._length = 0
        return answer


class _Connection(asyncio.Protocol):
    """One request at a time, each answered by a future."""

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._asked: asyncio.Future[Answer] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class
        self.is_open = True

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        self._asked = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._asked

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._reader.feed(data)
        except ValueError as error:
            self._end(error)
            return
        if answer is None:
            return
        if _CLOSES.search(answer.head):
            self.close()
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed by the service"))

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    def _end(self, error: Exception) -> None:
        self.close()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)


class Connections:
    """A pool of connections to one route, each used again when its answer has come.

    Request number k sends document k, from the first again after the last, with the id `RUN-k`.
    """

    def __init__(self, url: str, documents: Sequence[bytes], *, run: str) -> None:
        address = urlsplit(url)
        if address.hostname is None or address.port is None:
            raise ValueError(f"A URL without host and port: {url}")
        self._host, self._port = address.hostname, address.port
        self._requests = [(head_of(url, document), document) for document in documents]
        self._run = run
        self._idle: deque[_Connection] = deque()
        """Used in turn, so that none is idle for so long that the service closes it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()

    async def open(self, count: int) -> None:
        """Have so many connections ready."""
        while len(self._idle) < count:
            self._idle.append(await self._connect())

    async def send(self, number: int) -> Outcome:
        """Send that request. The status of its answer, or the name of what went wrong."""
        head, document = self._requests[number % len(self._requests)]
        request_id = f"{self._run}-{number}".encode()
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while self._idle and (connection is None or not connection.is_open):
                    connection = self._idle.popleft()
                if connection is None or not connection.is_open:
                    connection = await self._connect()
                answer = await connection.send(b"%b\r\nX-Request-ID: %b\r\n\r\n%b" % (head, request_id, document))
        except TimeoutError:
            return self._lost(connection, "timeout")
        except (OSError, ValueError) as error:
            return self._lost(connection, type(error).__name__)
        except asyncio.CancelledError:
            self._lost(connection, "")
            raise
        if connection.is_open:
            self._idle.append(connection)
        return answer.status if request_id in answer.head else "another request's answer"

    def _lost(self, connection: _Connection | None, outcome: str) -> str:
        if connection is not None:
            connection.close()
        return outcome

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection
