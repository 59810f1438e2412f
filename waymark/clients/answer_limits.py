"""Limits of bytes and of time on the answers of HTTP servers. `waymark.clients.read_answer` reads answers within them.

httpx decompresses each piece of an answer whole, and as often as the server says it is compressed: a few hundred bytes
can become gigabytes. Here the limit counts what comes off the wire and again what it decompresses to. One layer of gzip
or deflate is read; more layers, or another encoding, are refused.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import httpx

MEGABYTE: Final = 2**20
LARGEST: Final = 64 * MEGABYTE
"""Bytes of an answer, unless a caller says otherwise."""
EXTENSION: Final = "waymark_largest"
"""The extension of an httpx request that names another limit."""
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_ENCODING_SHOWN: Final = 60
_TOO_LATE: Final = "no whole answer in time"


class AnswerRefused(Exception):
    """An answer is larger than its limit, or compressed in a way that is not read."""


class Deadline:
    """When an exchange must be over, in seconds from its beginning: httpx bounds only each pause within it.

    As an asynchronous context it interrupts the block. As a plain one it cannot: `check` is then called between the
    pieces of an answer, each of which httpx bounds. Both raise httpx.ReadTimeout.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._timeout: asyncio.Timeout | None = None

    def check(self) -> None:
        """Raise httpx.ReadTimeout once the time is over."""
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout(_TOO_LATE)

    async def __aenter__(self) -> Self:
        self._timeout = asyncio.timeout(self._seconds)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._timeout is not None
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            raise httpx.ReadTimeout(_TOO_LATE) from late

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class Body:
    """The body of a streamed answer, put together piece by piece within a limit of bytes. Raises AnswerRefused."""

    def __init__(self, response: httpx.Response, largest: int = LARGEST) -> None:
        self._response = response
        self._largest = largest
        self._pieces = bytearray()
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20:
            _check(int(announced), largest)

    def add(self, piece: bytes) -> None:
        """Add the next piece, as it came off the wire."""
        self._pieces += piece
        _check(len(self._pieces), self._largest)

    def rebuilt(self) -> httpx.Response:
        """The answer with its whole body, decompressed."""
        response = self._response
        body = decompress(bytes(self._pieces), response.headers.get_list("content-encoding"), self._largest)
        headers = [
            (name, value) for name, value in response.headers.raw if name.decode("latin-1").lower() not in _OF_THE_WIRE
        ]
        extensions = {name: value for name, value in response.extensions.items() if name != "network_stream"}
        return httpx.Response(response.status_code, headers=headers, content=body, extensions=extensions)


def is_read(response: httpx.Response, largest: int = LARGEST) -> bool:
    """Whether a transport gave the answer whole, and decompressed. Raises AnswerRefused for one that is too large."""
    if not (response.is_closed and response.is_stream_consumed):
        return False
    _check(len(response.content), largest)
    return True


def decompress(body: bytes, encodings: Sequence[str], largest: int = LARGEST) -> bytes:
    """A body without its compression; `encodings` are the values of Content-Encoding. Raises AnswerRefused."""
    layers = [layer.strip().lower() for value in encodings for layer in value.split(",")]
    layers = [layer for layer in layers if layer not in ("", "identity")]
    if not layers:
        return body
    if len(layers) > 1 or layers[0] not in _ENCODINGS:
        named = ", ".join(layers)[:_ENCODING_SHOWN]
        raise AnswerRefused(f"an answer compressed as {named!r}, which was not asked for")
    for bits in (_GZIP_OR_ZLIB, -zlib.MAX_WBITS) if layers[0] == "deflate" else (_GZIP_OR_ZLIB,):
        unpacking = zlib.decompressobj(bits)
        try:
            unpacked = unpacking.decompress(body, largest + 1)
        except zlib.error:
            continue
        _check(len(unpacked), largest)
        if body and not unpacking.eof:
            raise AnswerRefused("a compressed answer without its end")
        return unpacked
    raise AnswerRefused(f"an answer that is not compressed as it says ({layers[0]})")


def _check(size: int, largest: int) -> None:
    if size > largest:
        limit = f"{largest // MEGABYTE} MB" if largest >= MEGABYTE else f"{largest} bytes"
        raise AnswerRefused(f"an answer of more than {limit}")
