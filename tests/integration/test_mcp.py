"""The services as tools: the official MCP client over HTTP, against services in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from httpx2 import AsyncClient
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from tests.serving import MCP_ACCEPT
from waymark.cli.local_stack import Stack
from waymark.clients.services import ControllerClient
from waymark.contracts import ActionRequest, ActionResponse, SubgoalRequest, SubgoalResponse
from waymark.serving.api.examples import ARRIVED, SENT_OFF, START

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a stack's processes end with their parent"),
]

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@asynccontextmanager
async def tools(url: str, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def test_each_service_offers_its_tool_with_the_contracts_schemas(stack: Stack) -> None:
    async with tools(stack.url("controller")) as client:
        (subgoal,) = (await client.list_tools()).tools
    async with tools(stack.url("executor")) as client:
        (action,) = (await client.list_tools()).tools
    assert (subgoal.name, action.name) == ("next_subgoal", "next_action")
    assert subgoal.input_schema == SubgoalRequest.model_json_schema()
    assert action.output_schema == ActionResponse.model_json_schema(mode="serialization")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_answer_as_the_routes_do(stack: Stack, mode: str) -> None:
    request = SubgoalRequest(state=START, n=2)
    async with tools(stack.url("controller"), mode=mode) as client:
        result = await client.call_tool("next_subgoal", request.model_dump(mode="json"))
    async with ControllerClient(stack.url("controller")) as http:
        routed = await http.subgoal(START, n=2)
    answer = SubgoalResponse.model_validate(result.structured_content)
    assert not result.is_error
    assert answer.alternatives == routed.alternatives
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert SubgoalResponse.model_validate_json(content.text) == answer


async def test_an_agent_that_knows_only_task_and_look_is_answered(stack: Stack) -> None:
    async with tools(stack.url("executor")) as client:
        result = await client.call_tool("next_action", {"state": {"task": START.task, "look": START.look}})
        bound = await client.call_tool(
            "next_action",
            ActionRequest(state=SENT_OFF, valid_actions=("teleport to living room",)).model_dump(mode="json"),
        )
    assert not result.is_error
    assert ActionResponse.model_validate(bound.structured_content).action == "teleport to living room"


async def test_the_agent_is_told_what_is_wrong_with_its_call(stack: Stack) -> None:
    state = ARRIVED.model_dump(mode="json")
    async with tools(stack.url("executor")) as client:
        lacking = await client.call_tool("next_action", {"state": {"task": "t"}})
        absent = await client.call_tool("next_action", {"state": state, "model": "big"})
        with pytest.raises(MCPError, match="next_action"):
            await client.call_tool("next_thing", {})
    assert lacking.is_error
    assert absent.is_error
    assert [type(content) for content in (*lacking.content, *absent.content)] == [TextContent, TextContent]
    assert "state.look" in lacking.model_dump_json()
    assert "default" in absent.model_dump_json()


async def test_a_page_of_another_host_reaches_no_tool(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url("controller"), trust_env=False) as http:
        foreign = await http.post("/mcp", json=LIST, headers={**MCP_ACCEPT, "host": "evil.example"})
        page = await http.post("/mcp", json=LIST, headers={**MCP_ACCEPT, "origin": "http://evil.example"})
    assert (foreign.status_code, page.status_code) == (421, 403)


async def test_a_key_is_asked_for(guarded: tuple[str, str]) -> None:
    url, key = guarded
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        refused = await http.post("/mcp", json=LIST, headers=MCP_ACCEPT)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    async with tools(url, key) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["next_subgoal"]
