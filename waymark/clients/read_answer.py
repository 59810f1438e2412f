"""Read an answer of an HTTP server within its limits. `read_answer_sync` is generated from this."""

from __future__ import annotations

import httpx

from waymark.clients.answer_limits import EXTENSION, LARGEST, Body, Deadline, is_read


async def read(response: httpx.Response, largest: int = LARGEST, deadline: Deadline | None = None) -> httpx.Response:
    """A streamed answer, whole and decompressed. Closes the stream. Raises AnswerRefused, httpx.TransportError."""
    if is_read(response, largest):
        return response
    try:
        body = Body(response, largest)
        async for piece in response.aiter_raw():
            body.add(piece)
            if deadline is not None:
                deadline.check()
    finally:
        await response.aclose()
    return body.rebuilt()


async def send(transport: httpx.AsyncBaseTransport, request: httpx.Request, seconds: float) -> httpx.Response:
    """Send a request and read its answer within so many seconds in all, and the limit that the request names.

    Raises AnswerRefused, httpx.TransportError.
    """
    if getattr(transport, "keeps_limits", False):
        return await transport.handle_async_request(request)
    async with Deadline(seconds) as deadline:
        response = await transport.handle_async_request(request)
        return await read(response, request.extensions.get(EXTENSION, LARGEST), deadline)
