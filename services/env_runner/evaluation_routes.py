"""Routes that read evaluations: status, results, summary, episodes, exports and events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.env_runner import json_answers
from services.env_runner.event_streams import EVENTS, folder_events
from services.env_runner.route_parameters import NAME, EpisodeId, EvaluationId
from services.env_runner.run_library import RunLibrary
from waymark.contracts import (
    EpisodeEntry,
    EpisodePage,
    EpisodeResult,
    EvaluationPage,
    EvaluationStatus,
    EvaluationSummary,
)
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation.checkpoint_identity import check_results
from waymark.evaluation.export import MEDIA_TYPES, Format, encode
from waymark.evaluation.published_comparison import beside_published
from waymark.evaluation.scores import summarise
from waymark.worlds.registry import world_of

_Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
_EvaluationCursor = Annotated[str | None, Query(pattern=NAME, description="`next_cursor` of the page before.")]
_EpisodeCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,9}$", description="`next_cursor` of the page before.")]
_LastEventId = Annotated[
    str, Header(pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?$", description="Go on after the event of this id.")
]


def _success(description: str, schema: Mapping[str, Any], *kinds: str) -> dict[int | str, dict[str, Any]]:
    """A success that is no JSON document, for the OpenAPI document."""
    return {200: {"description": description, "content": {kind: {"schema": schema} for kind in kinds}}}


_FILE = _success("The file", {"type": "string"}, *MEDIA_TYPES.values())


_Events = Callable[[str, str], AsyncIterator[ServerSentEvent]]
"""The events of an evaluation in Redis after a cursor."""


def add_reading(app: FastAPI, store: RunLibrary, follow: _Events) -> None:
    """The routes that read one evaluation, wherever it is."""

    @app.get("/v1/evaluations")
    def list_evaluations(limit: _Limit = 50, cursor: _EvaluationCursor = None) -> EvaluationPage:
        """Evaluations, the newest first, a page at a time."""
        try:
            statuses = store.newest(limit + 1, before=cursor)
        except NotFound:
            raise InvalidInput(
                f"{cursor!r} is not a cursor.", remedy="Send `next_cursor` of the page before.", field="cursor"
            ) from None
        page = tuple(statuses[:limit])
        return EvaluationPage(items=page, next_cursor=page[-1].id if len(statuses) > limit else None)

    @app.get("/v1/evaluations/{evaluation_id}")
    def one_evaluation(evaluation_id: EvaluationId) -> EvaluationStatus:
        """The status of an evaluation."""
        return store.status(evaluation_id)

    @app.get("/v1/evaluations/{evaluation_id}/results", response_model=list[EpisodeResult])
    def results(evaluation_id: EvaluationId) -> Response:
        """All results so far, light, in the order of play."""
        return json_answers.of_list(store.results(evaluation_id))

    @app.get("/v1/evaluations/{evaluation_id}/summary")
    def summary(evaluation_id: EvaluationId) -> EvaluationSummary:
        """Means and intervals of the results so far, and the published figures for the same task types.

        Refused with 422 if checkpoints other than the evaluation's made some of them.
        """
        results = store.results(evaluation_id)
        evaluation = store.evaluation(evaluation_id)
        check_results(evaluation_id, evaluation.versions, results)
        world = world_of(evaluation.versions.environment)
        return beside_published(evaluation_id, summarise(results, world), world, evaluation.request)

    @app.get("/v1/evaluations/{evaluation_id}/episodes")
    def list_episodes(evaluation_id: EvaluationId, limit: _Limit = 50, cursor: _EpisodeCursor = None) -> EpisodePage:
        """Its episodes in the order of play, one page at a time, each with its light result if there is one."""
        first = int(cursor or 0)
        results = {result.id: result for result in store.results(evaluation_id, first=first, count=limit)}
        specs = store.specs(evaluation_id, first=first, count=limit + 1)
        return EpisodePage(
            items=tuple(
                EpisodeEntry(
                    id=spec.id,
                    task=spec.task,
                    variation=spec.variation,
                    repeat=spec.repeat,
                    result=results.get(spec.id),
                )
                for spec in specs[:limit]
            ),
            next_cursor=str(first + limit) if len(specs) > limit else None,
        )

    @app.get("/v1/evaluations/{evaluation_id}/episodes/{episode_id}", response_model=EpisodeResult)
    def episode(evaluation_id: EvaluationId, episode_id: EpisodeId) -> Response:
        """One result with every turn, and the versions with which it was played."""
        return json_answers.of_result(store.episode(evaluation_id, episode_id))

    @app.get(
        "/v1/evaluations/{evaluation_id}/export",
        response_class=StreamingResponse,
        responses=_FILE,
    )
    def export(
        evaluation_id: EvaluationId,
        format: Annotated[Format, Query(description="CSV leaves the turns out.")] = "jsonl",  # noqa: A002
    ) -> StreamingResponse:
        """All results so far as a file, in the order of play: a line or a row an episode.

        Parquet needs the extra `parquet` on the machine of the env-runner.
        """
        store.status(evaluation_id)
        file = encode(store.whole_results(evaluation_id), format)
        disposition = {"content-disposition": f'attachment; filename="{evaluation_id}.{format}"'}
        return StreamingResponse(file, media_type=MEDIA_TYPES[format], headers=disposition)

    @app.get(
        "/v1/evaluations/{evaluation_id}/events",
        response_class=EventSourceResponse,
        responses=EVENTS,
    )
    async def events(evaluation_id: EvaluationId, last_event_id: _LastEventId = "0") -> EventSourceResponse:
        """Server-sent events from the first result on: `episode` for each (light), `status` when it changes.

        The stream ends with the evaluation. Only `episode` events have ids, so with `Last-Event-ID` no result is missed
        and none comes twice; the status is sent again.
        """
        await asyncio.to_thread(store.status, evaluation_id)
        if await asyncio.to_thread(store.on_disk_only, evaluation_id):
            return EventSourceResponse(folder_events(store, evaluation_id))
        return EventSourceResponse(follow(evaluation_id, last_event_id))
