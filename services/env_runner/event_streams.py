"""Server-sent events of evaluations: of those that Redis knows, and of those that are only run folders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from sse_starlette import ServerSentEvent

from services.env_runner.progress_follower import FOLLOW_SECONDS, Look, is_after
from services.env_runner.queue import Event, JobStore
from services.env_runner.run_library import RunLibrary
from waymark.clients.services import ENDED
from waymark.errors import JobStoreUnavailable, NotFound, RecordDamaged

EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The events; `data` is an `EpisodeResult` or an `EvaluationStatus`",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "event": {"enum": ["episode", "status"]},
                        "id": {"type": "string"},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                    "required": ["event", "data"],
                }
            }
        },
    }
}
"""The answer of a route of events, for the OpenAPI document."""


async def live_events(
    store: JobStore, look: Callable[[str], Awaitable[Look]], evaluation_id: str, cursor: str
) -> AsyncIterator[ServerSentEvent]:
    """The events of one evaluation after a cursor, until it ends. If Redis does not answer they end at once; ask again.

    `look` reads the progress (`Follower.look`).
    """
    before: Look | None = None
    with suppress(JobStoreUnavailable, RecordDamaged, NotFound):
        while True:
            now = await look(evaluation_id)
            if before is None or now.newest != before.newest:
                async for event in _episodes(store, evaluation_id, cursor, now.newest):
                    cursor = event.cursor
                    yield ServerSentEvent(event="episode", id=cursor, data=event.result.model_dump_json())
            if before is None or now.status != before.status:
                yield ServerSentEvent(event="status", data=now.status.model_dump_json())
            if now.status.state in ENDED:
                return
            before = now
            await asyncio.sleep(FOLLOW_SECONDS)


async def _episodes(store: JobStore, evaluation_id: str, cursor: str, newest: str) -> AsyncIterator[Event]:
    """The events after a cursor up to the newest one that the progress names."""
    while committed := await asyncio.to_thread(store.events, {evaluation_id: cursor}):
        for event in committed:
            if is_after(event.cursor, newest):
                return
            cursor = event.cursor
            yield event


async def folder_events(library: RunLibrary, run: str) -> AsyncIterator[ServerSentEvent]:
    """The events of a run that is only on disk: its status, once."""
    yield ServerSentEvent(event="status", data=library.status(run).model_dump_json())
