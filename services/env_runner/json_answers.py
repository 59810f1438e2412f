"""Long answers as JSON, written in the thread that reads their data; FastAPI would write them on the event loop.

An evaluation has up to 20,000 results, an episode up to 20,000 turns, and the folder of all runs up to 5,000 runs. Each
item is written separately, so that the event loop can run in between.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import Response

from waymark.contracts import Contract, EpisodeResult
from waymark.evaluation.result_json import write_result


def of_list(items: Iterable[Contract]) -> Response:
    """These items as a JSON list."""
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
