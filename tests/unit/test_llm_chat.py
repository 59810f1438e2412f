"""An endpoint is asked once for each request, again where that may help, and named without its key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from tests.chat_endpoint import HELLO, KEY, answering, chat, completion
from training.llm.stored_answers import ChatModel
from waymark.clients.chat import LONGEST_PAUSE, Endpoint, Limits, Message
from waymark.errors import EndpointUnusable, InvalidInput, ServiceRejected, ServiceUnavailable


@pytest.mark.anyio
async def test_an_answer_is_paid_for_once(tmp_path: Path) -> None:
    handle, seen = answering(completion("hi"))
    for _ in range(2):
        async with chat(handle, tmp_path) as model:
            _, answer = await model.ask(HELLO)
            assert answer.text == "hi"
    assert len(seen) == 1
    assert seen[0].url == "http://model/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert (model.usage.asked.answers, model.usage.cached.prompt) == (0, 7)


@pytest.mark.anyio
async def test_a_damaged_cache_file_is_asked_again(tmp_path: Path) -> None:
    handle, seen = answering(completion("hi"), completion("hi"))
    async with chat(handle, tmp_path) as model:
        key, _ = await model.ask(HELLO)
        (tmp_path / f"{key}.json").write_text('{"request": {')
        await model.ask(HELLO)
    assert len(seen) == 2


@pytest.mark.anyio
async def test_another_model_or_temperature_is_another_request(tmp_path: Path) -> None:
    endpoint = Endpoint("http://model/v1", "large")
    others = (endpoint, replace(endpoint, model="small"), replace(endpoint, parameters={"temperature": 1}))
    keys = [ChatModel(other, tmp_path).key({"messages": []}) for other in others]
    assert len(set(keys)) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("retry_after", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_retry_after_is_honoured_instead_of_our_own_pause(retry_after: str, tmp_path: Path) -> None:
    busy = httpx.Response(429, headers={"retry-after": retry_after})
    handle, seen = answering(busy, busy, completion("hi"))
    async with chat(handle, tmp_path, Limits(first_pause=1e6)) as model:
        _, answer = await model.ask(HELLO)
    assert (answer.text, len(seen), model.usage.retries) == ("hi", 3, 2)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(500),
        httpx.Response(529),
        httpx.Response(408),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"choices": []}),
    ],
)
async def test_errors_that_may_be_temporary_are_tried_again(bad: httpx.Response, tmp_path: Path) -> None:
    handle, _ = answering(bad, completion("hi"))
    async with chat(handle, tmp_path, Limits(first_pause=0)) as model:
        assert (await model.ask(HELLO))[1].text == "hi"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(400, json={"error": f"context too long for {KEY}"}), ServiceRejected),
        (httpx.Response(401), EndpointUnusable),
        (httpx.Response(404), EndpointUnusable),
        (httpx.Response(429, headers={"retry-after": str(LONGEST_PAUSE + 1)}), ServiceUnavailable),
    ],
)
async def test_permanent_errors_are_not_tried_again(
    response: httpx.Response, error: type[Exception], tmp_path: Path
) -> None:
    handle, seen = answering(response)
    async with chat(handle, tmp_path) as model:
        with pytest.raises(error) as raised:
            await model.ask(HELLO)
    assert len(seen) == 1
    assert KEY not in str(raised.value)


@pytest.mark.anyio
async def test_parallel_requests_are_limited_and_equal_ones_asked_once(tmp_path: Path) -> None:
    under_way, most, asked = 0, 0, 0

    async def handle(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most, asked
        asked, under_way = asked + 1, under_way + 1
        most = max(most, under_way)
        await anyio.sleep(0.01)
        under_way -= 1
        return completion("hi")

    endpoint = Endpoint("http://model/v1", "large")
    async with (
        ChatModel(endpoint, tmp_path, Limits(concurrency=3), httpx.MockTransport(handle)) as model,
        anyio.create_task_group() as group,
    ):
        for index in range(24):
            message: Message = {"role": "user", "content": str(index % 12)}
            group.start_soon(model.ask, [message])
    assert (most, asked) == (3, 12)


@pytest.mark.parametrize(
    ("url", "model"), [("", "large"), ("model/v1", "large"), ("ftp://model", "x"), ("http://m", "")]
)
def test_an_endpoint_needs_an_address_and_a_model(url: str, model: str) -> None:
    with pytest.raises(InvalidInput):
        Endpoint(url, model)


def test_addresses_are_shown_without_passwords_and_keys_never() -> None:
    endpoint = Endpoint("https://me:pass@model/v1/?key=1", "large", KEY)
    assert endpoint.address == "https://model/v1"
    assert KEY not in repr(endpoint)
