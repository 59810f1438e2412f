"""The env-runner's HTTP interface: accepts evaluations, reports on them, writes their results to disk.

The dashboard at `/` uses this interface like any other client.

Workers play the episodes. Everything that the app knows of an evaluation is in Redis, so it may be restarted at any
time; it then writes the results of the meantime and enqueues lost episodes again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sse_starlette import ServerSentEvent

from services.env_runner import dashboard_files, dashboard_routes, examples, play_along_routes
from services.env_runner.evaluation_routes import add_reading
from services.env_runner.event_streams import live_events
from services.env_runner.health_routes import add_health, count_episodes
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.redis_probe import RedisProbe
from services.env_runner.result_publisher import ResultPublisher
from services.env_runner.result_writer import ResultKeeper
from services.env_runner.run_library import RunLibrary
from services.env_runner.settings import Settings
from services.env_runner.submission_routes import add_control, add_submission
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import AgentConfig, Versions
from waymark.serving.api import docs, openapi
from waymark.serving.api.new_app import new_app
from waymark.serving.middleware.api_keys import open_keys
from waymark.serving.middleware.hosts import allowed_hosts
from waymark.serving.middleware.install import install_middleware
from waymark.serving.middleware.json_bounds import FEW_VALUES
from waymark.serving.telemetry import metrics, observed_requests
from waymark.worlds.registry import get_world


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
    install_middleware(
        app,
        most_values={"/v1/evaluations": FEW_VALUES},
        hosts=allowed_hosts(settings),
        keys=open_keys(settings),
        open_paths=dashboard_files.paths() | docs.paths(),
    )
    add_submission(app, store, publisher, versions)
    add_control(app, store, publisher, versions)
    library = RunLibrary(store, settings.runs)

    def follow(evaluation_id: str, cursor: str) -> AsyncIterator[ServerSentEvent]:
        return live_events(store, publisher.follower.look, evaluation_id, cursor)

    add_reading(app, library, follow)
    dashboard_routes.install(app, library, can_play=True, world=settings.environment)
    if play is not None:
        world = get_world(settings.environment)
        play_along_routes.install(app, play, world, most=settings.play_sessions, minutes=settings.play_minutes)
    probe = RedisProbe(store.ping)
    add_health(app, probe, publisher, provenance)
    dashboard_files.install(app)
    docs.install(app)
    requests = metrics.Requests()
    requests.registry.register(metrics.Episodes(lambda: count_episodes(store, probe)))
    observed_requests.install(app, requests)
    openapi.install(app, "env-runner", examples.ROUTES)
    return app
