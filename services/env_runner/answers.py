"""Long answers as JSON, made where they are read, in a thread: FastAPI would make them on the event loop.

An evaluation has up to 20,000 results, an episode up to 20,000 turns, and the folder of all runs up to 5,000 runs. Each
item is written on its own, so that the event loop runs in between.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Response

from waymark.contracts import Contract, EpisodeResult
from waymark.evaluation.long_results import write_result


def of_list(items: Iterable[Contract]) -> Response:
    """A JSON list of them."""
    return _json(_list(items))


def of_items(items: Iterable[Contract]) -> Response:
    """A JSON object whose one field, `items`, is a list of them."""
    return _json(b'{"items":' + _list(items) + b"}")


def of_result(result: EpisodeResult) -> Response:
    """One whole result."""
    return _json(write_result(result))


def _list(items: Iterable[Contract]) -> bytes:
    return b"[" + b",".join(item.model_dump_json().encode() for item in items) + b"]"


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
