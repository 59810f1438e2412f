"""The controller and the executor, from one factory.

A request passes the checks of its key, of the queue and of its size (`middleware`), one validation (`json_route`),
rendering and batching (`decisions`, `inference.batching`). The two services differ only in their routes and in the name
of a decision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI
from pydantic import Field

from waymark import __version__
from waymark.contracts import (
    ActionRequest,
    ActionResponse,
    Contract,
    ServiceInfo,
    SubgoalRequest,
    SubgoalResponse,
)
from waymark.serving.api import docs, mcp, openai, openapi
from waymark.serving.api.json_route import DeadlineMs, listing_at_most
from waymark.serving.api.mcp import McpEndpoint
from waymark.serving.api.new_app import new_app
from waymark.serving.decisions import action_response, subgoal_response
from waymark.serving.loaded_models import Models
from waymark.serving.middleware import problem_documents
from waymark.serving.middleware.api_keys import open_keys
from waymark.serving.middleware.callers import IdentifyCaller
from waymark.serving.middleware.hosts import allowed_hosts
from waymark.serving.middleware.install import install_middleware
from waymark.serving.middleware.json_bounds import FEW_VALUES, STATE_VALUES
from waymark.serving.model_server import ModelServer
from waymark.serving.settings import Service, ServiceSettings
from waymark.serving.telemetry import metrics, observed_requests

_SubgoalRequests = Annotated[Sequence[SubgoalRequest], Field(min_length=1)]
_ActionRequests = Annotated[Sequence[ActionRequest], Field(min_length=1)]


_ASKING: dict[Service, tuple[str, ...]] = {
    "controller": ("/v1/subgoal", "/v1/subgoals", openai.COMPLETIONS),
    "executor": ("/v1/action", "/v1/actions", openai.COMPLETIONS),
}
"""Routes that ask a model; refused while the queue is full."""
_REFUSALS = (401, 413, 415, 422, 429, 503, 504)
"""Statuses of refusals and errors of these routes."""


class Health(Contract):
    """Answer of the health routes."""

    status: Literal["ok"] = "ok"


def create_app(service: Service, models: Models, settings: ServiceSettings, *, warm: bool = True) -> FastAPI:
    """Make the app of a service with its loaded models. The app owns them and closes them when it shuts down.

    Its `state.model_server` answers requests; `model_server.drain` makes it refuse new ones. With models that are not
    `warm` it answers 503 until `model_server.warm_up` is done, which somebody has to call. Raises InvalidInput about
    keys.
    """
    requests = metrics.Requests()
    counted = metrics.Models(requests.registry)
    model_server = ModelServer(service, models, settings, observe=counted.observer)
    counted.watch(model_server.capacity)
    tools = McpEndpoint(model_server)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            model_server.open()
        async with tools.running():
            yield
        await model_server.close()

    app = new_app(f"Waymark {service}", lifespan=lifespan)
    app.state.model_server = model_server
    install_middleware(
        app,
        max_body_bytes=settings.max_body_bytes,
        most_values={openai.COMPLETIONS: FEW_VALUES, mcp.PATH: STATE_VALUES},
        hosts=allowed_hosts(settings),
        keys=open_keys(settings),
        open_paths=docs.paths(),
        asking=_ASKING[service],
        admit=model_server.admission.check_request,
    )
    app.add_middleware(IdentifyCaller, by_key=settings.asks_for_key)
    if service == "controller":
        _add_subgoal_routes(app, model_server)
    else:
        _add_action_routes(app, model_server)
    app.include_router(_about(model_server, settings))
    tools.install(app)
    docs.install(app)
    openai.install(app, model_server)
    openapi.install(app, service)
    observed_requests.install(app, requests)
    return app


def _about(model_server: ModelServer, settings: ServiceSettings) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/health/live")
    async def live() -> Health:
        """The process runs."""
        return Health()

    @router.get("/health", include_in_schema=False)  # what vLLM calls it, and load generators ask for
    @router.get("/health/ready", responses=problem_documents.describe(503))
    async def ready() -> Health:
        """The models are warm and requests are answered."""
        model_server.admission.check_ready()
        model_server.admission.check_models()
        return Health()

    @router.get("/info")
    async def info() -> ServiceInfo:
        """What is loaded, and the limits."""
        checkpoints = tuple(model.info for model in model_server.models.values())
        return ServiceInfo(
            service=model_server.service,
            version=__version__,
            checkpoints=checkpoints,
            history_turns=max(checkpoint.history_turns for checkpoint in checkpoints),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            limits=model_server.limits,
        )

    return router


def _add_subgoal_routes(app: FastAPI, model_server: ModelServer) -> None:
    async def subgoal(request: SubgoalRequest, deadline_ms: DeadlineMs = None) -> SubgoalResponse:
        """The next sub-goal for a state."""
        return subgoal_response((await model_server.decide([request], deadline_ms=deadline_ms))[0])

    async def subgoals(requests: _SubgoalRequests, deadline_ms: DeadlineMs = None) -> list[SubgoalResponse]:
        """The next sub-goals for several states, in their order."""
        return [
            subgoal_response(decided)
            for decided in await model_server.decide(requests, listed=True, deadline_ms=deadline_ms)
        ]

    _add_decision_routes(app, model_server, {"/v1/subgoal": subgoal, "/v1/subgoals": subgoals})


def _add_action_routes(app: FastAPI, model_server: ModelServer) -> None:
    async def action(request: ActionRequest, deadline_ms: DeadlineMs = None) -> ActionResponse:
        """The next action for a state and its current sub-goal."""
        return action_response((await model_server.decide([request], deadline_ms=deadline_ms))[0])

    async def actions(requests: _ActionRequests, deadline_ms: DeadlineMs = None) -> list[ActionResponse]:
        """The next actions for several states, in their order."""
        return [
            action_response(decided)
            for decided in await model_server.decide(requests, listed=True, deadline_ms=deadline_ms)
        ]

    _add_decision_routes(app, model_server, {"/v1/action": action, "/v1/actions": actions})


def _add_decision_routes(
    app: FastAPI, model_server: ModelServer, endpoints: Mapping[str, Callable[..., Coroutine[Any, Any, object]]]
) -> None:
    """Add them to the app's own router: one that is included is searched twice for each request."""
    for path, endpoint in endpoints.items():
        app.router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            tags=[model_server.service],
            responses=problem_documents.describe(*_REFUSALS),
            route_class_override=listing_at_most(model_server.limits.items),
        )
