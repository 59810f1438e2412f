"""What an operator sees of each request of each service: a count, a duration, a line in the log and a span.

One middleware does the first three; the span is FastAPI's own. Health checks and scrapes are counted, but make no line
and no span. What a full service refuses makes one line a second, since a line costs as much as the refusal itself.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waymark.serving.settings import ListenSettings
from waymark.serving.telemetry import logs, metrics, tracing

_QUIET = ("/health", metrics.PATH)
_UNKNOWN_ROUTE = "unknown"
_REFUSALS_EVERY = 1.0
"""Seconds between two lines about refusals."""
_log = logging.getLogger("waymark.access")


def start(service: str, settings: ListenSettings) -> None:
    """Set up this process's log, and its traces if the environment asks for them. Raises InvalidInput."""
    logs.configure(settings.log)
    tracing.start(service)


def identify(request_id: str) -> None:
    """All that is logged and traced from here on belongs to this request."""
    logs.request_id.set(request_id)
    tracing.note(request_id=request_id)


def install(app: FastAPI, requests: metrics.Requests) -> None:
    """Observe all requests of an app, and let `/metrics` tell. Call it after all other middleware was added."""
    app.include_router(metrics.router(requests.registry))
    app.state.count_closed = requests.closed  # `run` tells it of connections
    app.add_middleware(_Observed, requests=requests)


class _Observed:
    """The outermost layer of an app."""

    def __init__(self, app: ASGIApp, requests: metrics.Requests) -> None:
        self._app = app
        self._requests = requests
        self._refused = 0
        self._log_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _is_quiet(scope):
            await self._measured(scope, receive, send)
            return
        status, seconds = await self._measured(scope, receive, send)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._log_refusals()
            return
        logs.access(scope["method"], scope["path"], status, seconds)

    def _log_refusals(self) -> None:
        self._refused += 1
        if time.monotonic() >= self._log_at:
            _log.warning("requests refused with 429 since the last such line: %d", self._refused)
            self._refused, self._log_at = 0, time.monotonic() + _REFUSALS_EVERY

    async def _measured(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, float]:
        """Answer a request; its status and how many seconds it took."""
        began = time.perf_counter()
        status = 500  # of a request that is broken off before it is answered

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._requests.began()
        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - began
            self._requests.ended(_route(scope), status, seconds)
        return status, seconds


def _is_quiet(scope: Scope) -> bool:
    return str(scope["path"]).startswith(_QUIET)


TELEMETRY: TelemetryConfig = {"exclude": _is_quiet, "operation_spans": False, "metrics": False, "logs": False}
"""For each app: FastAPI's spans of requests, and nothing else of its telemetry."""


def _route(scope: Scope) -> str:
    """The route as it is declared, `/v1/evaluations/{evaluation_id}`: few values, whatever callers ask for."""
    path = getattr(scope.get("route"), "path", None) or scope.get("state", {}).get("route")
    return path if isinstance(path, str) else _UNKNOWN_ROUTE
