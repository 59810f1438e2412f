"""The MCP endpoint where it must not say too much, or go on too long."""

from __future__ import annotations

import httpx
import pytest

from tests.serving import MCP_ACCEPT, service_app, tool_call
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.api.examples import START

pytestmark = pytest.mark.anyio

CALL = tool_call("next_subgoal", {"state": START.model_dump(mode="json")})


async def ask(method: str) -> httpx.Response:
    """The answer of a controller whose model fails."""

    def broken(_: str) -> list[tuple[str, float]]:
        raise RuntimeError("secret detail")

    app = service_app("controller", default=ScriptedGenerator(broken))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    async with app.router.lifespan_context(app), client:
        return await client.request(method, "/mcp", json=CALL, headers=MCP_ACCEPT)


async def test_a_failure_does_not_tell_its_cause() -> None:
    response = await ask("POST")
    assert response.json()["error"]["code"] == -32603
    assert "secret detail" not in response.text


async def test_there_is_no_stream_that_never_ends() -> None:
    assert (await ask("GET")).status_code == 405
