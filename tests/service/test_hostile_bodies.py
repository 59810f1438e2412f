"""Bodies that hold far too much: refused early, in few words."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.serving import JSON, STATE, asking, says
from waymark.contracts import Problem
from waymark.errors import InputTooLarge
from waymark.serving.middleware.json_bounds import MOST_VALUES, check_values

pytestmark = pytest.mark.anyio

MEGABYTE = 1_000_000
MCP = {**JSON, "accept": "application/json, text/event-stream"}


async def send(path: str, body: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
    service: Any = "controller" if "subgoal" in path else "executor"
    async with asking(service, default=says("look around")) as client:
        return await client.post(path, content=body, headers=headers)


def state(**fields: Any) -> bytes:
    return json.dumps({"state": {**STATE, **fields}}).encode()


def called(arguments: Any) -> bytes:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "next_action", "arguments": arguments},
    }
    return json.dumps(call).encode()


ZEROS = b"[" + b"0," * 1_999_990 + b"0]"
KEYS = json.dumps({f"key{number}": 0 for number in range(200_000)}).encode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/actions", ZEROS),
        ("/v1/subgoals", ZEROS),
        ("/v1/actions", ZEROS[:-1]),
        ("/v1/actions", b"[" + KEYS + b"]"),
        ("/v1/action", KEYS),
        ("/v1/action", state(turns=[0] * MEGABYTE)),
        ("/v1/action", json.dumps({"state": STATE, "valid_actions": [0] * MEGABYTE}).encode()),
        ("/v1/completions", json.dumps({"model": "default", "prompt": ["x"] * 600_000}).encode()),
        ("/mcp", called({"state": {**STATE, "turns": [0] * MEGABYTE}})),
        ("/nope", ZEROS),
        ("/v1/actions", json.dumps([0] * 1_000).encode()),
        ("/v1/actions", json.dumps([{"state": STATE}] * 65).encode()),
    ],
)
async def test_a_body_of_too_many_values_is_413_and_short(path: str, body: bytes) -> None:
    response = await send(path, body, MCP)
    assert response.status_code == 413
    assert len(response.content) < 1_000


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/actions", b"[" * 4_000_000, 422),
        ("/v1/action", b'{"a":' * 700_000, 422),
        ("/v1/completions", b"[" * 4_000_000, 400),
        ("/v1/completions", b'{"prompt":' * 390_000, 400),
        ("/v1/action", b'{"state":' + b"9" * 3_900_000 + b"}", 422),
        ("/v1/completions", b'{"seed":' + b"9" * 3_900_000 + b"}", 400),
    ],
)
async def test_a_deep_or_endless_value_is_refused(path: str, body: bytes, status: int) -> None:
    response = await send(path, body)
    assert response.status_code == status
    assert len(response.content) < 1_000


@pytest.mark.parametrize(
    ("path", "body", "count"),
    [
        ("/v1/action", state(turns=[0] * 1_000), 1_000),
        ("/v1/action", json.dumps({"state": STATE, "valid_actions": [0] * 256}).encode(), 257),
        ("/v1/action", json.dumps({"state": STATE, **{f"k{number}": 0 for number in range(500)}}).encode(), 500),
        ("/v1/actions", json.dumps([{"state": {**STATE, "turns": [0] * 100}}] * 50).encode(), 5_000),
    ],
)
async def test_the_first_20_errors_are_shown_and_the_others_counted(path: str, body: bytes, count: int) -> None:
    response = await send(path, body)
    problem = Problem.model_validate_json(response.content)
    assert (response.status_code, len(problem.errors), problem.more_errors) == (422, 20, count - 20)
    assert f"and {count - 3:,} more" in problem.detail


LONG = "x\u0001\U0001f600" * 100_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/v1/action",
            json.dumps({"state": STATE, **{f"{number}{LONG[:900]}": 0 for number in range(1_000)}}).encode(),
        ),
        ("/v1/action", json.dumps({"state": STATE, LONG: 0}).encode()),
        ("/v1/action", json.dumps({"state": STATE, "model": LONG[:100]}).encode()),
        ("/v1/action", state(turns=[{LONG[:90]: 0}] * 3_000)),
        ("/v1/completions", json.dumps({"model": LONG, "prompt": "x"}).encode()),
        ("/v1/completions", json.dumps({"model": "default", "prompt": [{"x": LONG}] * 3}).encode()),
        ("/mcp", called({"state": STATE, LONG: 0})),
        ("/mcp", called({"state": STATE, **{f"{number}{LONG[:900]}": 0 for number in range(1_000)}})),
        ("/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "method": LONG}).encode()),
        ("/mcp", json.dumps({"jsonrpc": LONG, "id": [LONG], "method": {"x": LONG}}).encode()),
        ("/mcp", called({}).replace(b"next_action", LONG.encode())),
    ],
)
async def test_no_error_document_is_over_64_kb(path: str, body: bytes) -> None:
    response = await send(path, body, MCP)
    assert "rror" in response.text
    assert len(response.content) <= 64_000


async def test_a_hostile_body_does_not_hold_up_the_others() -> None:
    body = json.dumps([{"state": {**STATE, "turns": [{"a": 0, "b": 0}] * 240}}] * 60).encode()
    async with asking("executor", default=says("look around")) as client:
        await client.post("/v1/actions", content=body, headers=JSON)
        longest, stop = 0.0, False

        async def tick() -> None:
            nonlocal longest
            while not stop:
                began = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - began)

        ticking = asyncio.create_task(tick())
        for hostile in (body, ZEROS, KEYS):
            await client.post("/v1/actions", content=hostile, headers=JSON)
        stop = True
        await ticking
    assert longest < 1


@pytest.mark.parametrize("escape", ["\\\\", '\\"', '\\\\\\"', "\\u0022"])
def test_commas_inside_strings_are_not_counted_as_values(escape: str) -> None:
    check_values(f'["{escape}{"," * 2 * MOST_VALUES}{escape}"]'.encode())
    with pytest.raises(InputTooLarge):
        check_values(f'["{escape}"{",0" * MOST_VALUES}]'.encode())


def test_the_longest_history_of_a_full_list_is_let_in() -> None:
    turn = {"action": "look around", "observation": "You see a, b, c.", "reward": 0}
    check_values(json.dumps([{"state": {**STATE, "turns": [turn] * 40}}] * 64).encode())
