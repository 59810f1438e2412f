"""Limits the size of request bodies and the number of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from waymark.errors import InputTooLarge
from waymark.serving.middleware.json_bounds import MOST_VALUES, check_values
from waymark.serving.middleware.problem_documents import CLIENT_CLOSED_REQUEST
from waymark.serving.middleware.replayed_body import replayed

_DROPPED_BYTES: Final = 64_000_000
"""Of a body over the limit, so much is read and dropped: who sends it all before he reads gets his answer too."""


class BodyLimit:
    """Reads a body before the app does, and keeps no more of it than the limit."""

    def __init__(self, app: ASGIApp, limit: int, most_values: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._most_values = most_values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the body on. Raises InputTooLarge."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        too_large = announced > self._limit
        body = bytearray()
        read, more = 0, announced <= self._limit + _DROPPED_BYTES
        while more and read <= self._limit + _DROPPED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":  # nobody reads this answer; log and metrics do
                await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
                return
            part = message.get("body", b"")
            more = message.get("more_body", False)
            read += len(part)
            too_large = too_large or read > self._limit
            if too_large:
                body.clear()
            else:
                body += part
        if too_large:
            raise InputTooLarge(
                f"The body is over the limit of {self._limit} bytes.",
                remedy="Send fewer items or fewer turns.",
                field="",
            )
        check_values(body, self._most_values.get(scope["path"], MOST_VALUES))
        request = {"type": "http.request", "body": bytes(body), "more_body": False}
        await self._app(scope, replayed(request, receive), send)
