"""What a request may cost: refused with 413 before it waits, by whichever route it comes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from tests.serving import STATE, asking, problem, says
from waymark.contracts import ServiceInfo
from waymark.serving.middleware.callers import IdentifyCaller, caller
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio
LIMITED = ServiceSettings(max_request_tokens=5_000)
MANY = {"state": STATE, "valid_actions": [f"{number:03}" + "1" * 497 for number in range(256)]}
FEW = {"state": STATE, "valid_actions": [f"move thing {number} to box" for number in range(64)]}


async def test_many_long_candidates_are_refused_with_their_cost() -> None:
    async with asking("executor", LIMITED, default=says("look around")) as client:
        refusal = problem(await client.post("/v1/action", json=MANY), 413, "input-too-large")
        assert "over the limit of 5,000" in refusal.detail
        assert refusal.errors[0].field == "valid_actions"
        assert (await client.post("/v1/action", json=FEW)).status_code == 200


async def test_the_limit_holds_for_a_list_as_a_whole() -> None:
    async with asking("executor", LIMITED, default=says("look around")) as client:
        assert (await client.post("/v1/actions", json=[FEW] * 2)).status_code == 200
        problem(await client.post("/v1/actions", json=[FEW] * 40), 413, "input-too-large")


async def test_prompts_of_completions_count_too() -> None:
    async with asking("executor", LIMITED, default=says("look around")) as client:
        prompts = ["word " * 300] * 20
        answer = await client.post("/v1/completions", json={"model": "default", "prompt": prompts})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_an_expensive_tool_call_is_refused_with_its_cost() -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "next_action", "arguments": MANY},
    }
    headers = {"accept": "application/json, text/event-stream", "host": "127.0.0.1"}
    async with asking("executor", LIMITED, default=says("look around")) as client:
        result = (await client.post("/mcp", json=call, headers=headers)).json()["result"]
    assert result["isError"]
    assert "over the limit of 5,000" in result["content"][0]["text"]


async def test_info_names_the_limit_on_cost() -> None:
    async with asking("executor", LIMITED, default=says("look around")) as client:
        info = ServiceInfo.model_validate_json((await client.get("/info")).content)
    assert info.limits.request_tokens == 5_000


def test_limits_of_an_older_server_are_read() -> None:
    known = dict.fromkeys(("items", "turns", "alternatives", "candidates", "input_tokens", "body_bytes"), 1)
    limits = ServiceInfo.model_fields["limits"].annotation
    assert limits is not None
    old = limits.model_validate({**known, "queue": 1, "queue_tokens": 1, "queue_seconds": 1.0})
    assert old.request_tokens is None


@pytest.mark.parametrize(
    ("by_key", "first", "second", "same"),
    [
        (True, ("10.0.0.1", "some-key"), ("10.0.0.1", "other-key"), False),
        (True, ("10.0.0.1", "some-key"), ("10.0.0.2", "some-key"), True),
        (False, ("10.0.0.1", "some-key"), ("10.0.0.1", "other-key"), True),
        (False, ("10.0.0.1", "some-key"), ("10.0.0.2", "some-key"), False),
        (False, ("2001:db8::1", "some-key"), ("2001:db8::ffff", "some-key"), True),
        (False, ("2001:db8::1", "some-key"), ("2001:db8:0:1::1", "some-key"), False),
    ],
)
async def test_callers_are_distinguished_by_key_or_address(
    by_key: bool, first: tuple[str, str], second: tuple[str, str], same: bool
) -> None:
    names: list[str] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        names.append(caller())

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    for address, key in (first, second):
        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "http", "client": (address, 1), "headers": headers}
        await IdentifyCaller(app, by_key=by_key)(scope, nothing, nothing)
    assert (names[0] == names[1]) is same
    assert all(key not in name for name, (_, key) in zip(names, (first, second), strict=True) if by_key)
