"""The dashboard over run folders alone: no Redis, no models, nothing to start.

    python -m services.env_runner view RUN…

`waymark view` starts it. It serves what the env-runner serves for reading, from the folders that are named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from fastapi import FastAPI
from sse_starlette import ServerSentEvent

from services.env_runner import dashboard_files, dashboard_routes, examples
from services.env_runner.evaluation_routes import add_reading
from services.env_runner.event_streams import folder_events
from services.env_runner.run_library import RunLibrary
from waymark import __version__
from waymark.contracts import Contract
from waymark.serving.api import docs, openapi
from waymark.serving.api.new_app import new_app
from waymark.serving.middleware.api_keys import open_keys
from waymark.serving.middleware.hosts import allowed_hosts
from waymark.serving.middleware.install import install_middleware
from waymark.serving.settings import ListenSettings
from waymark.serving.telemetry import metrics, observed_requests


class ViewerHealth(Contract):
    """Answer of the health routes."""

    status: Literal["ok"] = "ok"


class ViewerInfo(Contract):
    """Answer of `GET /info`."""

    service: Literal["viewer"] = "viewer"
    version: str


def create_viewer(settings: ListenSettings, library: RunLibrary) -> FastAPI:
    """The app over run folders."""
    app = new_app("Waymark runs", 401, 404, 413, 422, 503)
    install_middleware(
        app,
        hosts=allowed_hosts(settings),
        keys=open_keys(settings),
        open_paths=dashboard_files.paths() | docs.paths(),
    )

    async def follow(evaluation_id: str, _: str) -> AsyncIterator[ServerSentEvent]:
        async for event in folder_events(library, evaluation_id):
            yield event

    add_reading(app, library, follow)
    dashboard_routes.install(app, library, can_play=False)

    @app.get("/health/live")
    @app.get("/health/ready")
    async def health() -> ViewerHealth:
        """The process runs."""
        return ViewerHealth()

    @app.get("/info")
    async def info() -> ViewerInfo:
        """What this is."""
        return ViewerInfo(version=__version__)

    dashboard_files.install(app)
    docs.install(app)
    observed_requests.install(app, metrics.Requests())
    openapi.install(app, "env-runner", examples.ROUTES)
    return app
