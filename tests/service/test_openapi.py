"""The OpenAPI documents: every route has examples, the examples are accepted, and errors are as they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI

from services.env_runner.app import create_app as create_runner
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.settings import Settings
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import ActionRequest, AgentState, Contract, EvaluationRequest, SubgoalRequest
from waymark.serving.api.examples import SENT_OFF, START
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import Service, ServiceSettings
from waymark.worlds.registry import get_format

pytestmark = pytest.mark.anyio

Operation = tuple[str, str, dict[str, Any]]


def service(name: Service) -> FastAPI:
    return create_app(name, {"default": scripted_model("default", name)}, ServiceSettings())


def runner() -> FastAPI:
    """Nothing is connected: only its document is looked at."""
    clients = ControllerClient("http://c"), ExecutorClient("http://e")
    provenance = Provenance("scripted", None)
    store, sessions = JobStore("unix:///nowhere", lease_seconds=30), PlayQueue("unix:///nowhere")
    return create_runner(Settings(), store, *clients, provenance, sessions)


APPS = {"controller": lambda: service("controller"), "executor": lambda: service("executor"), "env-runner": runner}


def operations(app: FastAPI) -> Iterator[Operation]:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


@pytest.mark.parametrize("name", APPS)
def test_every_route_has_examples_that_fit_its_schema(name: str) -> None:
    app = APPS[name]()
    document = app.openapi()
    for method, path, operation in operations(app):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [response.get("content", {}) for response in operation["responses"].values()]
        for content in contents:
            for kind, media in content.items():
                examples = [example["value"] for example in media.get("examples", {}).values()]
                examples += [media["example"]] if "example" in media else []
                assert examples or not kind.endswith("json"), f"{method} {path} has no example of {kind}"
                if kind.endswith("json"):
                    schema = {**media["schema"], "components": document["components"]}
                    for example in examples:
                        jsonschema_rs.validate(schema, example)


@pytest.mark.parametrize("name", APPS)
def test_errors_are_documented_as_they_are_sent(name: str) -> None:
    for _, path, operation in operations(APPS[name]()):
        theirs = path.startswith(("/v1/completions", "/v1/models"))
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                assert list(response["content"]) == ["application/json" if theirs else "application/problem+json"]
                assert not theirs or status != "422"


@pytest.mark.parametrize("name", ["controller", "executor"])
async def test_the_examples_are_answered(name: Service) -> None:
    app = service(name)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        for method, path, operation in operations(app):
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for words, example in content.get("examples", {}).items():
                response = await client.request(method, path, json=example["value"])
                assert response.status_code == 200, f"{method} {path}, {words}: {response.text}"


@pytest.mark.parametrize(("name", "state"), [("controller", START), ("executor", SENT_OFF)])
def test_the_example_of_a_completion_is_a_prompt_that_works(name: Service, state: AgentState) -> None:
    document = service(name).openapi()["paths"]["/v1/completions"]["post"]["requestBody"]
    prompts = [example["value"]["prompt"] for example in document["content"]["application/json"]["examples"].values()]
    assert prompts == [get_format("compact").render(name, state)]


def test_every_route_and_parameter_of_the_env_runner_is_described() -> None:
    for method, path, operation in operations(runner()):
        assert operation.get("description"), f"{method} {path}"
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{method} {path}: {parameter['name']}"


@pytest.mark.parametrize("request_type", [SubgoalRequest, ActionRequest, EvaluationRequest])
def test_every_field_of_a_request_says_what_it_is(request_type: type[Contract]) -> None:
    schema = request_type.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for field, described in model["properties"].items():
            assert "description" in described or "$ref" in described, f"{model['title']}.{field}"
