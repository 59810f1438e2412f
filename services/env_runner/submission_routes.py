"""Routes that submit, cancel and resume evaluations."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response, status

from services.env_runner.provenance import check_unchanged
from services.env_runner.queue import JobStore
from services.env_runner.result_publisher import ResultPublisher
from services.env_runner.route_parameters import EvaluationId
from waymark.agent.subgoal_sources import check_source
from waymark.contracts import (
    AgentConfig,
    EpisodeSpec,
    EvaluationRequest,
    EvaluationStatus,
    Versions,
)
from waymark.errors import InvalidInput
from waymark.evaluation.requested_episodes import check_world, episodes, pinned, protocol_of
from waymark.evaluation.run_folder import Evaluation
from waymark.serving.middleware import problem_documents
from waymark.worlds.registry import world_of

_IDEMPOTENCY_KEY = "Idempotency-Key"
_IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=_IDEMPOTENCY_KEY,
        pattern=r"^[!-~]{1,255}$",
        description="Any text of one's own, a new one for each evaluation: then it may be sent again.",
    ),
]
_Playing = Callable[[AgentConfig], Awaitable[Versions]]
"""The versions with which an agent would be played now. Raises InvalidInput, ServiceError."""


def add_submission(app: FastAPI, store: JobStore, publisher: ResultPublisher, versions: _Playing) -> None:
    """Give an app the route that submits an evaluation."""
    replayed: dict[int | str, dict[str, Any]] = {
        200: {"model": EvaluationStatus, "description": "Submitted before, under this key"}
    }

    @app.post(
        "/v1/evaluations", status_code=status.HTTP_201_CREATED, responses=replayed | problem_documents.describe(507)
    )
    async def submit(
        request: EvaluationRequest, response: Response, idempotency_key: _IdempotencyKey = None
    ) -> EvaluationStatus:
        """Check an evaluation against the protocols and the services' checkpoints, and enqueue its episodes.

        A request that is sent again with the same `Idempotency-Key` is not played twice: the answer is 200 with the
        status of the first one. A key is kept as long as its evaluation; with another body it is refused.
        """
        submitted = None
        if idempotency_key is not None:
            submitted = await asyncio.to_thread(store.submitted, idempotency_key)
        if submitted is None:
            evaluation, specs = await asyncio.to_thread(_plan, request, await versions(request.agent))
            await publisher.prepare_new(evaluation)  # before anything is enqueued: it may be impossible to write it
            try:
                submitted = await asyncio.to_thread(store.submit, evaluation, specs, key=idempotency_key)
            finally:
                if submitted != evaluation.id:
                    await publisher.discard(evaluation.id)
            if submitted == evaluation.id:  # the writer finds it by itself
                return await asyncio.to_thread(store.status, submitted)
        before = await asyncio.to_thread(store.status, submitted)
        if before.request != request.model_copy(update={"split": request.split or before.request.split}):
            raise InvalidInput(
                f"Another evaluation, {submitted}, was submitted under this key.",
                remedy="Send a key of its own with each evaluation.",
                field=_IDEMPOTENCY_KEY,
            )
        response.status_code = status.HTTP_200_OK
        return before


def _plan(request: EvaluationRequest, versions: Versions) -> tuple[Evaluation, list[EpisodeSpec]]:
    """A new evaluation and its episodes. Raises InvalidInput."""
    world = world_of(versions.environment)
    check_world(request, world)
    check_source(request.agent, world.agent)
    now = datetime.now(UTC)
    name = f"{now:%Y%m%d-%H%M%S}-{protocol_of(request, world).name}-{secrets.token_hex(3)}"
    request = pinned(request, world)
    specs = episodes(name, request, world)
    created = now.isoformat(timespec="milliseconds")
    return Evaluation(id=name, request=request, created=created, versions=versions, episodes=len(specs)), specs


def add_control(app: FastAPI, store: JobStore, publisher: ResultPublisher, versions: _Playing) -> None:
    """Give an app the routes that cancel and resume an evaluation."""

    @app.post("/v1/evaluations/{evaluation_id}/cancel")
    def cancel(evaluation_id: EvaluationId) -> EvaluationStatus:
        """Cancel an evaluation. Running episodes stop within seconds, without a result."""
        store.cancel(evaluation_id)
        return store.status(evaluation_id)

    @app.post("/v1/evaluations/{evaluation_id}/resume", responses=problem_documents.describe(507))
    async def resume(
        evaluation_id: EvaluationId,
        errored: Annotated[bool, Query(description="Play those again, too, that errored.")] = False,
    ) -> EvaluationStatus:
        """Play the episodes that have no result yet.

        If Redis has lost the evaluation but its run folder exists, it is restored with the results of the folder. It
        continues only with the same environment and checkpoints as before.
        """
        lost = await publisher.lost(evaluation_id)
        if lost is not None:
            check_unchanged(lost, await versions(lost.request.agent))
            await publisher.restore(evaluation_id)
        await publisher.prepare(await asyncio.to_thread(store.evaluation, evaluation_id))
        await asyncio.to_thread(store.resume, evaluation_id, errored=errored)
        await publisher.follow(evaluation_id)
        return await asyncio.to_thread(store.status, evaluation_id)
