"""The model services in this process, on scripted engines: over ASGI, or on a real socket."""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from typing import Any, Literal

import httpx
from fastapi import FastAPI

from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import Problem, Role
from waymark.inference import Generation, Prompt
from waymark.inference.engines.scripted import Policy, ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.http_server import Server
from waymark.serving.loaded_models import scripted_model
from waymark.serving.middleware.connection_limits import ConnectionLimits
from waymark.serving.settings import Service, ServiceSettings
from waymark.serving.telemetry import logs

STATE: dict[str, Any] = {
    "task": "Your task is to boil water.",
    "look": "This room is called the kitchen.",
    "current_subgoal": "x()",
}
JSON = {"content-type": "application/json"}
MCP_ACCEPT = {"accept": "application/json, text/event-stream"}

Asking = AbstractAsyncContextManager[httpx.AsyncClient]


def says(*texts: str) -> Policy:
    """A policy that answers every prompt with these texts, best first."""
    return lambda _: [(text, -1.0 - rank) for rank, text in enumerate(texts)]


def tool_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The body of a request to `/mcp` that calls a tool."""
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection for raw bytes."""
    with closing(socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=20)) as wire:
        yield wire


class Stuck(ScriptedGenerator):
    """Answers when it is released; remembers the prompts of each batch."""

    def __init__(self, say: Policy = says("look around")) -> None:  # noqa: B008 - it holds nothing
        super().__init__(say)
        self.entered, self.released = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        self.batches.append([prompt if isinstance(prompt, str) else prompt.text for prompt in prompts])
        self.entered.set()
        self.released.wait()
        return super().generate(prompts, n=n)


def service_app(service: Service, settings: ServiceSettings | None = None, **generators: ScriptedGenerator) -> FastAPI:
    """A service whose named models are these generators."""
    roles: dict[str, Role] = {"first": "first", "flat": "flat"}
    default: Role = "controller" if service == "controller" else "executor"
    models = {name: scripted_model(name, roles.get(name, default), generator) for name, generator in generators.items()}
    return create_app(service, models, settings or ServiceSettings())


@asynccontextmanager
async def asking_generators(
    service: Service, settings: ServiceSettings | None = None, **generators: ScriptedGenerator
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that service while it runs."""
    app = service_app(service, settings, **generators)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@asynccontextmanager
async def asking(
    service: Service, settings: ServiceSettings | None = None, **policies: Policy
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running service whose named models answer by these policies."""
    generators = {name: ScriptedGenerator(policy) for name, policy in policies.items()}
    async with asking_generators(service, settings, **generators) as client:
        yield client


def problem(response: httpx.Response, status: int, kind: str) -> Problem:
    """The problem document of an answer, which must be of that status and kind."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    details = Problem.model_validate_json(response.content)
    assert (details.status, details.type) == (status, f"urn:waymark:{kind}")
    assert response.headers["x-request-id"] == details.request_id
    return details


@contextmanager
def served(app: FastAPI, limits: ConnectionLimits | None = None) -> Iterator[str]:
    """The URL of an app that listens on a real socket, in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = Server(app, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@asynccontextmanager
async def scripted_services() -> AsyncIterator[tuple[ControllerClient, ExecutorClient]]:
    """Clients of a controller and an executor (with a flat model) in this process, without weights."""
    settings = ServiceSettings(engine="scripted")
    controller = create_app("controller", {"default": scripted_model("default", "controller")}, settings)
    acting = {"default": scripted_model("default", "executor"), "flat": scripted_model("flat", "flat")}
    executor = create_app("executor", acting, settings)
    async with controller.router.lifespan_context(controller), executor.router.lifespan_context(executor):
        yield (
            ControllerClient("http://controller", transport=httpx.ASGITransport(controller)),
            ExecutorClient("http://executor", transport=httpx.ASGITransport(executor)),
        )


@contextmanager
def captured_log(form: Literal["text", "json"]) -> Iterator[io.StringIO]:
    """What this package logs meanwhile."""
    written = io.StringIO()
    handler = logs.handler(form, written)
    root = logging.getLogger("waymark")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)
