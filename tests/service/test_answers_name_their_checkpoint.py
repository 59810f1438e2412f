"""Every route that decides says which checkpoint did; answers of servers that do not say so are still read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.serving import MCP_ACCEPT, STATE, says, tool_call
from waymark.contracts import ActionResponse, Role, SubgoalResponse
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import ServedModel, scripted_model
from waymark.serving.settings import Service, ServiceSettings

pytestmark = pytest.mark.anyio
FRESH = {"task": STATE["task"], "look": STATE["look"]}
HASHES = {"default": "a" * 64, "first": "f" * 64, "flat": "e" * 64}


def app_of(service: Service, **roles: Role) -> FastAPI:
    def model(name: str, role: Role) -> ServedModel:
        scripted = scripted_model(name, role, ScriptedGenerator(says("look around")))
        return replace(scripted, info=scripted.info.model_copy(update={"sha256": HASHES[name]}))

    return create_app(service, {name: model(name, role) for name, role in roles.items()}, ServiceSettings())


async def ask(app: FastAPI, path: str, body: Any) -> Any:
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=MCP_ACCEPT)
    async with app.router.lifespan_context(app), client:
        response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("service", "path", "other", "alone"),
    [
        ("controller", "/v1/subgoals", {"state": FRESH}, {"default": "controller", "first": "first"}),
        ("executor", "/v1/actions", {"state": STATE, "model": "flat"}, {"default": "executor", "flat": "flat"}),
    ],
)
async def test_single_and_list_routes_name_the_checkpoint(
    service: Service, path: str, other: dict[str, Any], alone: dict[str, Role]
) -> None:
    second = next(name for name in alone if name != "default")
    answers = await ask(app_of(service, **alone), path, [{"state": STATE}, other])
    assert [answer["checkpoint_sha256"] for answer in answers] == [HASHES["default"], HASHES[second]]
    assert {answer["runtime"] for answer in answers} == {"scripted none"}
    assert await ask(app_of(service, **alone), path.removesuffix("s"), other) == answers[1] | {
        "timing_ms": pytest.approx(answers[1]["timing_ms"], abs=1e6)
    }


async def test_the_mcp_tool_and_completions_name_the_checkpoint_too() -> None:
    body = tool_call("next_action", {"state": STATE})
    answer = await ask(app_of("executor", default="executor"), "/mcp", body)
    assert answer["result"]["structuredContent"]["checkpoint_sha256"] == HASHES["default"]
    written = await ask(app_of("executor", default="executor"), "/v1/completions", {"model": "default", "prompt": "x"})
    assert written["system_fingerprint"] == HASHES["default"]


def test_an_answer_of_an_older_server_is_read() -> None:
    common: dict[str, Any] = {
        "model": "default",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "timing_ms": {"queue": 0, "model": 0, "total": 0},
    }
    likely = {"logprob": -1, "mean_logprob": -1}
    subgoal = {"subgoal": "x()", "alternatives": [{"subgoal": "x()", **likely}], **common}
    action = {"action": None, "ended_subgoal": True}
    answer = SubgoalResponse.model_validate_json(json.dumps(subgoal))
    acted = ActionResponse.model_validate_json(json.dumps({**action, "alternatives": [{**action, **likely}], **common}))
    assert (answer.parsed, answer.raw, answer.checkpoint_sha256) == (True, None, None)
    assert (acted.parsed, acted.alternatives[0].parsed, acted.checkpoint_sha256) == (True, True, None)
