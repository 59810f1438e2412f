"""The env-runner's HTTP interface: takes evaluations, reports on them, writes their results to disk.

It plays nothing itself; workers do. All that it knows of an evaluation is in Redis, so it may be restarted at
any time; it then writes what was finished meanwhile and enqueues again what was lost.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import FastAPI, Header, status
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.env_runner.jobs import JobStore
from services.env_runner.provenance import Provenance
from services.env_runner.results import ResultWriter
from services.env_runner.settings import Settings
from waymark import __version__
from waymark.client import ENDED, ControllerClient, ExecutorClient
from waymark.contracts import (
    Contract,
    EpisodeResult,
    EvaluationRequest,
    EvaluationStatus,
)
from waymark.errors import JobStoreUnavailable
from waymark.protocols import episodes
from waymark.runs import Evaluation
from waymark.serving import metrics, observe, openapi, problems
from waymark.serving.auth import open_keys

FOLLOW_SECONDS = 0.25
"""How often commits are looked for, to write them and to send them as events."""

_log = logging.getLogger(__name__)


class RunnerInfo(Contract):
    """Answer of `GET /info`."""

    service: Literal["env-runner"]
    version: str
    environment: str


class Health(Contract):
    """Answer of the health routes."""

    status: Literal["ok"]


def create_app(
    settings: Settings,
    store: JobStore,
    controller: ControllerClient,
    executor: ExecutorClient,
    provenance: Provenance,
) -> FastAPI:
    """The app over its collaborators; `provenance` is for the record."""
    desk = _Desk(store, ResultWriter(store, settings.runs))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for known in await asyncio.to_thread(store.statuses):
            await desk.follow(known.id)
        stopping = asyncio.Event()
        keeping_up = asyncio.create_task(desk.keep_up(stopping, reconcile_seconds=settings.lease_seconds))
        yield
        stopping.set()
        await keeping_up

    app = FastAPI(
        title="Waymark env-runner",
        version=__version__,
        lifespan=lifespan,
        telemetry=observe.TELEMETRY,
        responses=problems.describe(401, 404, 413, 422, 503),
    )
    problems.install(app, keys=open_keys(settings))

    @app.post("/v1/evaluations", status_code=status.HTTP_201_CREATED)
    async def submit(request: EvaluationRequest) -> EvaluationStatus:
        """Check an evaluation against the protocols and the services' checkpoints, and enqueue its episodes."""
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{request.protocol}-{secrets.token_hex(3)}"
        specs = episodes(name, request)
        evaluation = Evaluation(
            id=name,
            request=request,
            created=now.isoformat(timespec="milliseconds"),
            versions=provenance.versions(request.agent, await controller.info(), await executor.info()),
            episodes=len(specs),
        )
        await asyncio.to_thread(store.submit, evaluation, specs)
        await desk.follow(name)
        return await asyncio.to_thread(store.status, name)

    @app.get("/v1/evaluations")
    def list_evaluations() -> list[EvaluationStatus]:
        """All evaluations, oldest first."""
        return store.statuses()

    @app.get("/v1/evaluations/{evaluation_id}")
    def one_evaluation(evaluation_id: str) -> EvaluationStatus:
        """How far an evaluation has come."""
        return store.status(evaluation_id)

    @app.get("/v1/evaluations/{evaluation_id}/results")
    def results(evaluation_id: str) -> list[EpisodeResult]:
        """All results so far, without their turns, in the order of play."""
        return store.results(evaluation_id)

    @app.get("/v1/evaluations/{evaluation_id}/episodes/{episode_id}")
    def episode(evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One result with every turn."""
        return store.episode(evaluation_id, episode_id)

    @app.get("/v1/evaluations/{evaluation_id}/export")
    def export(evaluation_id: str, format: Literal["jsonl"] = "jsonl") -> StreamingResponse:  # noqa: A002 - the query's name
        """All results so far with every turn, a line each."""
        ids = [result.id for result in store.results(evaluation_id)]

        def lines() -> Iterator[str]:
            for one in ids:
                yield store.episode(evaluation_id, one).model_dump_json() + "\n"

        disposition = {"content-disposition": f'attachment; filename="{evaluation_id}.{format}"'}
        return StreamingResponse(lines(), media_type="application/jsonl", headers=disposition)

    @app.get("/v1/evaluations/{evaluation_id}/events", response_class=EventSourceResponse)
    async def events(
        evaluation_id: str, last_event_id: Annotated[str, Header(pattern=r"^\d+(-\d+)?$")] = "0"
    ) -> EventSourceResponse:
        """Server-sent events from the first result on: `episode` for each (without turns), `status` when it changes.

        Ends once the evaluation has. `Last-Event-ID` goes on after the event of that id.
        """
        await asyncio.to_thread(store.status, evaluation_id)
        return EventSourceResponse(desk.events(evaluation_id, last_event_id))

    @app.post("/v1/evaluations/{evaluation_id}/cancel")
    def cancel(evaluation_id: str) -> EvaluationStatus:
        """Play no more of it. Episodes under way stop within seconds, without a result."""
        store.cancel(evaluation_id)
        return store.status(evaluation_id)

    @app.post("/v1/evaluations/{evaluation_id}/resume")
    def resume(evaluation_id: str) -> EvaluationStatus:
        """Play what has no result yet."""
        store.resume(evaluation_id)
        return store.status(evaluation_id)

    _add_probes(app, store, provenance)
    requests = metrics.Requests()
    requests.registry.register(metrics.Episodes(lambda: _count_episodes(store)))
    observe.install(app, requests)
    openapi.install(app, "env-runner")
    return app


def _count_episodes(store: JobStore) -> Mapping[str, int]:
    """The episodes of all evaluations that are not cancelled, by state; none while Redis does not answer."""
    counts: Counter[str] = Counter(waiting=0, running=0, finished=0, errored=0)
    with suppress(JobStoreUnavailable):
        for one in store.statuses():
            if one.state != "cancelled":
                waiting = one.episodes - one.finished - one.running
                succeeded = one.finished - one.errored
                counts.update(waiting=waiting, running=one.running, finished=succeeded, errored=one.errored)
    return counts


def _add_probes(app: FastAPI, store: JobStore, provenance: Provenance) -> None:
    @app.get("/health/live")
    def live() -> Health:
        """The process runs."""
        return Health(status="ok")

    @app.get("/health/ready")
    def ready() -> Health:
        """Redis answers too."""
        store.ping()
        return Health(status="ok")

    @app.get("/info")
    def info() -> RunnerInfo:
        """What this is."""
        return RunnerInfo(service="env-runner", version=__version__, environment=provenance.environment)


class _Desk:
    """Puts commits on disk and tells of them, in this order: what was told is there whatever dies next."""

    def __init__(self, store: JobStore, writer: ResultWriter) -> None:
        self._store = store
        self._writer = writer
        self._writing = asyncio.Lock()

    async def follow(self, evaluation_id: str) -> None:
        """Write this evaluation's results from now on."""
        async with self._writing:
            await asyncio.to_thread(self._writer.follow, evaluation_id)

    async def keep_up(self, stopping: asyncio.Event, *, reconcile_seconds: float) -> None:
        """Write until stopped, then once more; now and then look for episodes that were lost."""
        reconciled = -reconcile_seconds
        while not stopping.is_set():
            await self._write()
            if time.monotonic() - reconciled >= reconcile_seconds:
                with suppress(JobStoreUnavailable):
                    await asyncio.to_thread(self._store.reconcile)
                reconciled = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), FOLLOW_SECONDS)
        await self._write()

    async def events(self, evaluation_id: str, cursor: str) -> AsyncIterator[ServerSentEvent]:
        """The events of one evaluation after a cursor, to its end. Without Redis they end at once: ask again."""
        before: EvaluationStatus | None = None
        with suppress(JobStoreUnavailable):
            while True:
                # The status first, so that an end comes after its results.
                now = await asyncio.to_thread(self._store.status, evaluation_id)
                while committed := await asyncio.to_thread(self._store.events, {evaluation_id: cursor}):
                    await self._write()
                    for event in committed:
                        cursor = event.cursor
                        yield ServerSentEvent(event="episode", id=cursor, data=event.result.model_dump_json())
                if now != before:
                    yield ServerSentEvent(event="status", data=now.model_dump_json())
                    before = now
                if now.state in ENDED:
                    return
                await asyncio.sleep(FOLLOW_SECONDS)

    async def _write(self) -> None:
        try:
            async with self._writing:
                await asyncio.to_thread(self._writer.catch_up)
        except (JobStoreUnavailable, OSError) as error:
            _log.error("Results wait to be written: %s", error)
