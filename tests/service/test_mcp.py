"""The MCP endpoint where it must not say too much, or go on too long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import httpx
import pytest

from tests.serving import MCP_ACCEPT, service_app, tool_call
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.api.examples import START

pytestmark = pytest.mark.anyio

CALL = tool_call("next_subgoal", {"state": START.model_dump(mode="json")})


MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "next_subgoal"}


async def ask(
    method: str, body: str = json.dumps(CALL), headers: Mapping[str, str] = MappingProxyType({})
) -> httpx.Response:
    """The answer of a controller whose model fails."""

    def broken(_: str) -> list[tuple[str, float]]:
        raise RuntimeError("secret detail")

    app = service_app("controller", default=ScriptedGenerator(broken))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    async with app.router.lifespan_context(app), client:
        kind = {"content-type": "application/json"}
        return await client.request(method, "/mcp", content=body, headers={**MCP_ACCEPT, **kind, **headers})


async def test_a_failure_does_not_tell_its_cause() -> None:
    response = await ask("POST")
    assert response.json()["error"]["code"] == -32603
    assert "secret detail" not in response.text


async def test_there_is_no_stream_that_never_ends() -> None:
    assert (await ask("GET")).status_code == 405


@pytest.mark.parametrize("headers", [{}, MODERN], ids=["2025", "2026"])
@pytest.mark.parametrize(
    "name", ["null", "1.5", "1.0", "NaN", "[1]", "[]", '{"a": 1}', "true", "1" + "0" * 30, "-1" + "0" * 4_000]
)
async def test_a_call_with_a_wrong_id_gets_an_error(name: str, headers: Mapping[str, str]) -> None:
    response = await ask("POST", json.dumps({**CALL, "id": "HERE"}).replace('"HERE"', name), headers)
    answer = response.json()
    assert response.status_code == 400
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    assert "id must be a string" in answer["error"]["message"]


@pytest.mark.parametrize("body", [[CALL], [], 1, "x", None])
async def test_a_body_that_is_not_one_call_gets_an_error(body: object) -> None:
    answer = (await ask("POST", json.dumps(body))).json()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)


@pytest.mark.parametrize("name", [0, -7, 2**63 - 1, "", "a"])
async def test_a_call_with_a_right_id_is_answered_with_it(name: str | int) -> None:
    assert (await ask("POST", json.dumps({**CALL, "id": name}))).json()["id"] == name


async def test_a_notification_needs_no_answer() -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await ask("POST", json.dumps(body))).status_code == 202
