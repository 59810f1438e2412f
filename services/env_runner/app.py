"""The env-runner's HTTP interface: accepts evaluations, reports on them, writes their results to disk.

The dashboard at `/` uses this interface like any other client.

Workers play the episodes. Everything that the app knows of an evaluation is in Redis, so it may be restarted at any
time; it then writes the results of the meantime and enqueues lost episodes again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.env_runner import answers, dashboard, examples, insight, play_routes
from services.env_runner.library import RunLibrary
from services.env_runner.provenance import Provenance, check_unchanged
from services.env_runner.publisher import ResultPublisher
from services.env_runner.queue import JobStore
from services.env_runner.queue.play import PlayQueue
from services.env_runner.redis_probe import RedisProbe
from services.env_runner.result_writer import ResultKeeper
from services.env_runner.settings import Settings
from waymark import __version__
from waymark.agent.subgoal_sources import check_source
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import (
    AgentConfig,
    Contract,
    EpisodeEntry,
    EpisodePage,
    EpisodeResult,
    EpisodeSpec,
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    EvaluationSummary,
    FieldProblem,
    Versions,
)
from waymark.contracts.health import RunnerHealth
from waymark.errors import InvalidInput, JobStoreUnavailable, NotFound, ServiceUnavailable
from waymark.evaluation.export import MEDIA_TYPES, Format, encode
from waymark.evaluation.identity import check_results
from waymark.evaluation.protocols import check_world, episodes, pinned, protocol_of
from waymark.evaluation.run_folder import Evaluation
from waymark.evaluation.scores import beside_published, summarise
from waymark.serving.api import docs, openapi
from waymark.serving.api.new_app import new_app
from waymark.serving.middleware import problems
from waymark.serving.middleware.auth import open_keys
from waymark.serving.middleware.hosts import allowed_hosts
from waymark.serving.middleware.json_bounds import FEW_VALUES
from waymark.serving.telemetry import metrics, observe
from waymark.worlds.registry import get_world, world_of

_IDEMPOTENCY_KEY = "Idempotency-Key"

_NAME = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$"
_EvaluationId = Annotated[str, Path(pattern=_NAME, description="As it was answered when it was submitted.")]
_EpisodeId = Annotated[str, Path(pattern=_NAME, description="As results and events name it.")]
_IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=_IDEMPOTENCY_KEY,
        pattern=r"^[!-~]{1,255}$",
        description="Any text of one's own, a new one for each evaluation: then it may be sent again.",
    ),
]
_Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
_EvaluationCursor = Annotated[str | None, Query(pattern=_NAME, description="`next_cursor` of the page before.")]
_EpisodeCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,9}$", description="`next_cursor` of the page before.")]
_LastEventId = Annotated[
    str, Header(pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?$", description="Go on after the event of this id.")
]


def _success(description: str, schema: Mapping[str, Any], *kinds: str) -> dict[int | str, dict[str, Any]]:
    """A success that is no JSON document, for the OpenAPI document."""
    return {200: {"description": description, "content": {kind: {"schema": schema} for kind in kinds}}}


_FILE = _success("The file", {"type": "string"}, *MEDIA_TYPES.values())
_EVENTS = _success(
    "The events; `data` is an `EpisodeResult` or an `EvaluationStatus`",
    {
        "type": "object",
        "properties": {
            "event": {"enum": ["episode", "status"]},
            "id": {"type": "string"},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
        "required": ["event", "data"],
    },
    "text/event-stream",
)


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
    play: PlayQueue | None = None,
) -> FastAPI:
    """The app over its collaborators; `provenance` is for the record, `play` holds the sessions of play along."""
    publisher = ResultPublisher(store, ResultKeeper(store, settings.runs), reconcile_seconds=settings.lease_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        publisher.start()
        yield
        await publisher.stop()

    async def versions(agent: AgentConfig) -> Versions:
        return provenance.versions(agent, await controller.info(), await executor.info())

    app = new_app("Waymark env-runner", 401, 404, 413, 422, 503, lifespan=lifespan)
    app.state.publisher = publisher
    problems.install(
        app,
        most_values={"/v1/evaluations": FEW_VALUES},
        hosts=allowed_hosts(settings),
        keys=open_keys(settings),
        open_paths=dashboard.paths() | docs.paths(),
    )
    _add_submission(app, store, publisher, versions)
    _add_control(app, store, publisher, versions)
    library = RunLibrary(store, settings.runs)
    add_reading(app, library, publisher.events)
    insight.install(app, library, can_play=True, world=settings.environment)
    if play is not None:
        world = get_world(settings.environment)
        play_routes.install(app, play, world, most=settings.play_sessions, minutes=settings.play_minutes)
    probe = RedisProbe(store.ping)
    _add_probes(app, probe, publisher, provenance)
    dashboard.install(app)
    docs.install(app)
    requests = metrics.Requests()
    requests.registry.register(metrics.Episodes(lambda: _count_episodes(store, probe)))
    observe.install(app, requests)
    openapi.install(app, "env-runner", examples.ROUTES)
    return app


_Playing = Callable[[AgentConfig], Awaitable[Versions]]
"""The versions with which an agent would be played now. Raises InvalidInput, ServiceError."""


def _add_submission(app: FastAPI, store: JobStore, publisher: ResultPublisher, versions: _Playing) -> None:
    replayed: dict[int | str, dict[str, Any]] = {
        200: {"model": EvaluationStatus, "description": "Submitted before, under this key"}
    }

    @app.post("/v1/evaluations", status_code=status.HTTP_201_CREATED, responses=replayed | problems.describe(507))
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


def _add_control(app: FastAPI, store: JobStore, publisher: ResultPublisher, versions: _Playing) -> None:
    @app.post("/v1/evaluations/{evaluation_id}/cancel")
    def cancel(evaluation_id: _EvaluationId) -> EvaluationStatus:
        """Cancel an evaluation. Running episodes stop within seconds, without a result."""
        store.cancel(evaluation_id)
        return store.status(evaluation_id)

    @app.post("/v1/evaluations/{evaluation_id}/resume", responses=problems.describe(507))
    async def resume(
        evaluation_id: _EvaluationId,
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
    def one_evaluation(evaluation_id: _EvaluationId) -> EvaluationStatus:
        """The status of an evaluation."""
        return store.status(evaluation_id)

    @app.get("/v1/evaluations/{evaluation_id}/results", response_model=list[EpisodeResult])
    def results(evaluation_id: _EvaluationId) -> Response:
        """All results so far, light, in the order of play."""
        return answers.of_list(store.results(evaluation_id))

    @app.get("/v1/evaluations/{evaluation_id}/summary")
    def summary(evaluation_id: _EvaluationId) -> EvaluationSummary:
        """Means and intervals of the results so far, and the published figures for the same task types.

        Refused with 422 if checkpoints other than the evaluation's made some of them.
        """
        results = store.results(evaluation_id)
        evaluation = store.evaluation(evaluation_id)
        check_results(evaluation_id, evaluation.versions, results)
        world = world_of(evaluation.versions.environment)
        return beside_published(evaluation_id, summarise(results, world), world, evaluation.request)

    @app.get("/v1/evaluations/{evaluation_id}/episodes")
    def list_episodes(evaluation_id: _EvaluationId, limit: _Limit = 50, cursor: _EpisodeCursor = None) -> EpisodePage:
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
    def episode(evaluation_id: _EvaluationId, episode_id: _EpisodeId) -> Response:
        """One result with every turn, and the versions with which it was played."""
        return answers.of_result(store.episode(evaluation_id, episode_id))

    @app.get(
        "/v1/evaluations/{evaluation_id}/export",
        response_class=StreamingResponse,
        responses=_FILE,
    )
    def export(
        evaluation_id: _EvaluationId,
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
        responses=_EVENTS,
    )
    async def events(evaluation_id: _EvaluationId, last_event_id: _LastEventId = "0") -> EventSourceResponse:
        """Server-sent events from the first result on: `episode` for each (light), `status` when it changes.

        The stream ends with the evaluation. Only `episode` events have ids, so with `Last-Event-ID` no result is missed
        and none comes twice; the status is sent again.
        """
        await asyncio.to_thread(store.status, evaluation_id)
        if await asyncio.to_thread(store.on_disk_only, evaluation_id):
            return EventSourceResponse(insight.folder_events(store, evaluation_id))
        return EventSourceResponse(follow(evaluation_id, last_event_id))


def _count_episodes(store: JobStore, probe: RedisProbe) -> Mapping[str, int]:
    """The episodes of all evaluations that are not cancelled, by state; none while Redis does not answer."""
    counts: Counter[str] = Counter(waiting=0, running=0, finished=0, errored=0)
    with suppress(JobStoreUnavailable):
        probe.check_in_thread()
        for statuse in store.statuses():
            if statuse.state != "cancelled":
                waiting = statuse.episodes - statuse.finished - statuse.running
                succeeded = statuse.finished - statuse.errored
                counts.update(waiting=waiting, running=statuse.running, finished=succeeded, errored=statuse.errored)
    return counts


def _add_probes(app: FastAPI, probe: RedisProbe, publisher: ResultPublisher, provenance: Provenance) -> None:
    @app.get("/health/live")
    async def live() -> Health:
        """The process runs. Needs no thread and no Redis."""
        return Health(status="ok")

    @app.get("/health/ready", response_model=RunnerHealth)
    async def ready(request: Request) -> RunnerHealth | Response:
        """Whether Redis answers and every background task works. Answers within seconds, even while Redis hangs.

        `degraded` means that evaluations are set aside because their results cannot be written or read. All others
        continue, so the answer is 200. With a failed or stalled task it is 503, and `errors` name the same evaluations
        and the tasks.
        """
        await probe.check()
        health = publisher.health()
        if all(task.state == "running" for task in health.tasks):
            return health
        return _not_ready(health, request)

    @app.get("/info")
    def info() -> RunnerInfo:
        """Name and version of this service."""
        return RunnerInfo(service="env-runner", version=__version__, environment=provenance.environment)


def _not_ready(health: RunnerHealth, request: Request) -> Response:
    """A problem document with every failed or stalled task and every evaluation that is set aside."""
    tasks = [
        FieldProblem(field=f"tasks.{task.name}", message=f"{task.state} since {task.since}: {task.problem}")
        for task in health.tasks
        if task.state != "running"
    ]
    aside = [
        FieldProblem(field=f"set_aside.{case.evaluation}", message=f"since {case.since}: {case.problem} {case.remedy}")
        for case in health.set_aside
    ]
    detail = "; ".join(f"The background task {problem.field.partition('.')[2]} {problem.message}" for problem in tasks)
    return problems.problem_response(
        503,
        ServiceUnavailable.__name__,
        f"{detail} The service's log says more.",
        str(request.state.request_id),
        errors=(*tasks, *aside),
        headers={"Retry-After": "1"},
    )
