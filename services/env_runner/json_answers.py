"""Long answers as JSON, written in the thread that reads their data; FastAPI would write them on the event loop.

An evaluation has up to 20,000 results, an episode up to 20,000 turns, and the folder of all runs up to 5,000 runs. Each
item is written separately, so that the event loop can run in between. A long answer is also sent in pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import Final

from fastapi import Response
from starlette.types import Receive, Scope, Send

from waymark.contracts import Contract, EpisodeResult
from waymark.evaluation.result_json import joined, write_parts

_PIECE_BYTES: Final = 262_144


def of_list(items: Iterable[Contract]) -> Response:
    """These items as a JSON list."""
    return _json(_list(items))


def of_items(items: Iterable[Contract]) -> Response:
    """A JSON object whose one field, `items`, is a list of them."""
    return _json(chain([b'{"items":'], _list(items), [b"}"]))


def of_result(result: EpisodeResult) -> Response:
    """One whole result."""
    return _json(write_parts(result))


def _list(items: Iterable[Contract]) -> Iterable[bytes]:
    before = b"["
    for item in items:
        yield before + item.model_dump_json().encode()
        before = b","
    yield b"]" if before == b"," else b"[]"


def _json(parts: Iterable[bytes]) -> Response:
    return _InPieces(list(joined(parts, _PIECE_BYTES)))


class _InPieces(Response):
    """A JSON document that is sent piece by piece, in one round of the event loop each."""

    media_type = "application/json"

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces[0] if len(pieces) == 1 else b"")
        self._pieces = pieces
        self.headers["content-length"] = str(sum(map(len, pieces)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        if len(self._pieces) == 1:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, piece in enumerate(self._pieces, start=1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(self._pieces)})
            await asyncio.sleep(0)
