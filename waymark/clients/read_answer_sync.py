"""Read an answer of an HTTP server within its limits.

Generated from `waymark/clients/read_answer.py` by `.ci/unasync`: do not edit.
"""

from __future__ import annotations

import httpx

from waymark.clients.answer_limits import EXTENSION, LARGEST, Body, Deadline, is_read


def read(response: httpx.Response, largest: int = LARGEST, deadline: Deadline | None = None) -> httpx.Response:
    """A streamed answer, whole and decompressed. Closes the stream. Raises AnswerRefused, httpx.TransportError."""
    if is_read(response, largest):
        return response
    try:
        body = Body(response, largest)
        for piece in response.iter_raw():
            body.add(piece)
            if deadline is not None:
                deadline.check()
    finally:
        response.close()
    return body.rebuilt()


def send(transport: httpx.BaseTransport, request: httpx.Request, seconds: float) -> httpx.Response:
    """Send a request and read its answer within so many seconds in all, and the limit that the request names.

    Raises AnswerRefused, httpx.TransportError.
    """
    if getattr(transport, "keeps_limits", False):
        return transport.handle_request(request)
    with Deadline(seconds) as deadline:
        response = transport.handle_request(request)
        return read(response, request.extensions.get(EXTENSION, LARGEST), deadline)
