"""Answers of HTTP servers, read within a limit of bytes and of time.

httpx decompresses each piece of an answer whole, and as often as the server says it is compressed: a few hundred bytes
can become gigabytes. Here the limit counts what comes off the wire and again what it decompresses to. One layer of gzip
or deflate is read; more layers, or another encoding, are refused.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from typing import Final

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


class AnswerRefused(Exception):
    """An answer is larger than its limit, or compressed in a way that is not read."""


async def read(response: httpx.Response, largest: int = LARGEST) -> httpx.Response:
    """A streamed answer, whole and decompressed. Closes the stream. Raises AnswerRefused, httpx.TransportError."""
    if _is_read(response):
        return _within(response, largest)
    body = bytearray()
    try:
        _check_announced(response, largest)
        async for piece in response.aiter_raw():
            body += piece
            _check(len(body), largest)
    finally:
        await response.aclose()
    return _rebuilt(response, bytes(body), largest)


def read_sync(response: httpx.Response, largest: int = LARGEST, *, deadline: float | None = None) -> httpx.Response:
    """The same without asyncio. `deadline`, on the monotonic clock, holds for the whole body: httpx.ReadTimeout."""
    if _is_read(response):
        return _within(response, largest)
    body = bytearray()
    try:
        _check_announced(response, largest)
        for piece in response.iter_raw():
            body += piece
            _check(len(body), largest)
            if deadline is not None and time.monotonic() > deadline:
                raise httpx.ReadTimeout("no whole answer in time")
    finally:
        response.close()
    return _rebuilt(response, bytes(body), largest)


async def send(transport: httpx.AsyncBaseTransport, request: httpx.Request, seconds: float) -> httpx.Response:
    """Send a request and read its answer within so many seconds in all, and the limit that the request names.

    Raises AnswerRefused, httpx.TransportError.
    """
    if getattr(transport, "keeps_limits", False):
        return await transport.handle_async_request(request)
    try:
        async with asyncio.timeout(seconds):
            response = await transport.handle_async_request(request)
            return await read(response, request.extensions.get(EXTENSION, LARGEST))
    except TimeoutError as error:
        raise httpx.ReadTimeout("no whole answer in time") from error


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


def _is_read(response: httpx.Response) -> bool:
    """Whether a transport gave the answer whole; what was compressed is decompressed by then."""
    return response.is_closed and response.is_stream_consumed


def _within(response: httpx.Response, largest: int) -> httpx.Response:
    _check(len(response.content), largest)
    return response


def _check_announced(response: httpx.Response, largest: int) -> None:
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20:
        _check(int(announced), largest)


def _check(size: int, largest: int) -> None:
    if size > largest:
        limit = f"{largest // MEGABYTE} MB" if largest >= MEGABYTE else f"{largest} bytes"
        raise AnswerRefused(f"an answer of more than {limit}")


def _rebuilt(response: httpx.Response, body: bytes, largest: int) -> httpx.Response:
    """The answer with its body as it is meant."""
    body = decompress(body, response.headers.get_list("content-encoding"), largest)
    headers = [
        (name, value) for name, value in response.headers.raw if name.decode("latin-1").lower() not in _OF_THE_WIRE
    ]
    extensions = {name: value for name, value in response.extensions.items() if name != "network_stream"}
    return httpx.Response(response.status_code, headers=headers, content=body, extensions=extensions)
