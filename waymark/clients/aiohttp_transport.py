"""HTTP for callers that ask all the time: aiohttp below httpx, at half the CPU of httpx's own transport.

The clients of `waymark.clients.services` speak httpx, so that a service can be tested in its caller's process; a worker
asks thousands of times a minute, and gives them this.
"""

from __future__ import annotations

import aiohttp
import httpx
from yarl import URL

from waymark.clients import answer_limits

_KEEP_ALIVE_SECONDS = 4
"""Less than a server's own 5 s (uvicorn), so that none is closed in the moment of its next use."""
_CONNECTIONS = 1_000
"""At once. Over it a request waits for one, and the wait counts as its latency."""


def connections() -> aiohttp.TCPConnector:
    """A pool of connections for very many requests."""
    return aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_SECONDS)


async def read_answer(answer: aiohttp.ClientResponse, largest: int = answer_limits.LARGEST) -> bytes:
    """The body of an answer, decompressed here: for sessions with `auto_decompress=False`. Raises AnswerRefused."""
    if not answer.headers.get("Content-Encoding") and 0 <= (answer.content_length or -1) <= largest:
        return await answer.read()  # HTTP ends it at its announced length
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > largest:
            answer.close()
            raise answer_limits.AnswerRefused(f"an answer of more than {largest // answer_limits.MEGABYTE} MB")
    return answer_limits.decompress(bytes(body), answer.headers.getall("Content-Encoding", []), largest)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """A pool of connections, opened on first use, for one event loop.

    Answers are read whole, within the limit that a request names: not for streams of events. Of httpx's four timeouts
    that for reading holds for the whole request. Raises httpx.TransportError, AnswerRefused.
    """

    keeps_limits = True
    """It bounds answers in bytes and in time itself."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, read the answer."""
        session = self._session or self._open()
        limits = request.extensions.get("timeout", {})
        try:
            async with session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content or None,
                timeout=aiohttp.ClientTimeout(total=limits.get("read"), sock_connect=limits.get("connect")),
                allow_redirects=False,
            ) as answer:
                content = await read_answer(
                    answer, request.extensions.get(answer_limits.EXTENSION, answer_limits.LARGEST)
                )
                headers = [header for header in answer.raw_headers if header[0].lower() != b"content-encoding"]
                return httpx.Response(answer.status, headers=headers, content=content)
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time") from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError(str(error)) from error
        except aiohttp.ClientError as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=connections(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self._session
