"""A service under more load than it can take: nothing is lost, nothing is mixed up, nothing is done for nobody."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from tests.serving import JSON, STATE, Stuck, asking_generators, problem, served, service_app
from waymark.clients.services import ExecutorClient
from waymark.contracts import AgentState
from waymark.inference import Encoded
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.model_server import ModelServer
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio
SECONDS = 30


def echo(prompt: str) -> list[tuple[str, float]]:
    """Every state's own answer: its sub-goal, which opens the prompt of an executor."""
    return [(prompt.partition(" | ")[0], -1.0)]


def state(number: int) -> dict[str, Any]:
    return {**STATE, "current_subgoal": f"go({number})"}


async def waiting_are(model_server: ModelServer, requests: int) -> None:
    """Go on when so many requests wait."""
    with anyio.fail_after(SECONDS):
        while model_server.capacity.requests != requests:  # noqa: ASYNC110 - it happens in another thread
            await anyio.sleep(0.005)


@asynccontextmanager
async def one_answered_one_waiting(
    app: FastAPI, stuck: Stuck
) -> AsyncIterator[tuple[httpx.AsyncClient, list[asyncio.Task[httpx.Response]]]]:
    """A client of a service that is computing one answer while another request waits, and both answers."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        running = asyncio.create_task(client.post("/v1/action", json={"state": state(0)}))
        await asyncio.to_thread(stuck.entered.wait)
        waiting = asyncio.create_task(client.post("/v1/action", json={"state": state(1)}))
        await waiting_are(app.state.model_server, 1)
        yield client, [running, waiting]


async def test_thousands_of_retried_requests_get_one_answer_each() -> None:
    generator = ScriptedGenerator(echo)
    app = service_app("executor", ServiceSettings(max_queue=24), default=generator)
    client = ExecutorClient("http://executor", transport=httpx.ASGITransport(app), retry_seconds=SECONDS)
    answers: Counter[str | None] = Counter()

    async def call(numbers: range) -> None:
        for number in numbers:
            answer = await client.action(AgentState(**state(number)))
            assert answer.action == f"go {number}"
            answers[answer.action] += 1

    async with app.router.lifespan_context(app), client, asyncio.TaskGroup() as callers:
        for first in range(32):
            callers.create_task(call(range(first, 3_000, 32)))
    assert answers == Counter(f"go {number}" for number in range(3_000))


async def test_over_capacity_a_service_refuses_and_answers_the_admitted() -> None:
    stuck = Stuck(echo)
    settings = ServiceSettings(max_queue=20, max_batch=8)
    async with asking_generators("executor", settings, default=stuck) as client:
        async with asyncio.TaskGroup() as callers:
            first = callers.create_task(client.post("/v1/action", json={"state": state(0)}))
            await asyncio.to_thread(stuck.entered.wait)
            rest = [callers.create_task(client.post("/v1/action", json={"state": state(n)})) for n in range(1, 101)]
            refused = await asyncio.gather(*rest[20:])  # while the model has answered nobody
            for response in refused:
                problem(response, 429, "queue-full")
                assert int(response.headers["retry-after"]) >= 1
            stuck.released.set()
        answered = [task.result().json()["action"] for task in (first, *rest[:20])]
    assert answered == [f"go {number}" for number in range(21)]
    assert sum(len(batch) for batch in stuck.batches) == 21


async def test_a_full_service_refuses_every_route_without_reading_bodies(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "waymark.access")

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("somebody reads it")
        yield b""

    stuck = Stuck(echo)
    app = service_app("executor", ServiceSettings(max_queue=1), default=stuck)
    async with one_answered_one_waiting(app, stuck) as (client, answers):
        for path in ("/v1/action", "/v1/actions", "/v1/completions"):
            refused = await client.post(path, content=body(), headers=JSON)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
        stuck.released.set()
        assert [(await answer).status_code for answer in answers] == [200, 200]
        counted = (await client.get("/metrics")).text
    assert 'waymark_request_seconds_count{route="/v1/action",status="429"} 1.0' in counted
    lines = [record.getMessage() for record in caplog.records if record.name == "waymark.access"]
    refusals = [line for line in lines if "429" in line]
    assert refusals[0] == "requests refused with 429 since the last such line: 1"
    assert not any("/v1" in line for line in refusals)


async def test_a_request_past_its_deadline_never_reaches_the_engine() -> None:
    stuck = Stuck(echo)
    async with asking_generators("executor", default=stuck) as client:
        busy = asyncio.create_task(client.post("/v1/action", json={"state": state(0)}))
        await asyncio.to_thread(stuck.entered.wait)
        late = [client.post("/v1/action", json={"state": state(n), "deadline_ms": 5}) for n in range(1, 10)]
        for response in await asyncio.gather(*late):
            problem(response, 504, "deadline-exceeded")
        stuck.released.set()
        assert (await busy).status_code == 200
        assert (await client.post("/v1/action", json={"state": state(99)})).json()["action"] == "go 99"
    assert [prompt.partition(" | ")[0] for batch in stuck.batches for prompt in batch] == ["go 0", "go 99"]


async def test_a_waiting_client_that_hangs_up_frees_its_place() -> None:
    stuck = Stuck(echo)
    app = service_app("executor", ServiceSettings(max_queue=3), default=stuck)
    model_server: ModelServer = app.state.model_server
    with served(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as client:
            busy = asyncio.create_task(client.post("/v1/action", json={"state": state(0)}))
            await asyncio.to_thread(stuck.entered.wait)
            leaving = [await asyncio.to_thread(send, url, state(n)) for n in (1, 2, 3)]
            await waiting_are(model_server, 3)
            problem(await client.post("/v1/action", json={"state": state(4)}), 429, "queue-full")
            for connection in leaving:
                connection.close()
            await waiting_are(model_server, 0)
            staying = asyncio.create_task(client.post("/v1/action", json={"state": state(5)}))
            await waiting_are(model_server, 1)
            stuck.released.set()
            assert [(await answer).json()["action"] for answer in (busy, staying)] == ["go 0", "go 5"]
    assert [prompt.partition(" | ")[0] for batch in stuck.batches for prompt in batch] == ["go 0", "go 5"]


async def test_a_slow_tokeniser_or_model_delays_nothing_else() -> None:
    class Slow(Stuck):
        """Tokenises when it is released."""

        def encode(self, prompts: Sequence[str]) -> list[Encoded]:
            self.entered.set()
            self.released.wait()
            return super().encode(prompts)

    for stuck in (Slow(echo), Stuck(echo)):
        async with asking_generators("executor", default=stuck) as client:
            waiting = asyncio.create_task(client.post("/v1/action", json={"state": state(0)}))
            await asyncio.to_thread(stuck.entered.wait)
            assert (await client.get("/health/ready")).status_code == 200
            assert "waymark_queue_requests" in (await client.get("/metrics")).text
            assert not waiting.done()
            stuck.released.set()
            assert (await waiting).json()["action"] == "go 0"


async def test_finished_requests_leave_no_memory_behind() -> None:
    stuck = Stuck(echo)
    app = service_app("executor", ServiceSettings(max_queue=20, max_batch=8), default=stuck)

    async def overloaded(client: httpx.AsyncClient) -> set[int]:
        stuck.entered.clear()
        stuck.released.clear()
        requests = [asyncio.create_task(client.post("/v1/action", json={"state": state(0)}))]
        await asyncio.to_thread(stuck.entered.wait)
        late = await client.post("/v1/action", json={"state": state(1), "deadline_ms": 5})
        gone = asyncio.create_task(client.post("/v1/action", json={"state": state(2)}))
        await waiting_are(app.state.model_server, 1)
        gone.cancel()
        await waiting_are(app.state.model_server, 0)
        requests += [asyncio.create_task(client.post("/v1/action", json={"state": state(n)})) for n in range(3, 103)]
        await asyncio.gather(*requests[21:])
        stuck.released.set()
        return {late.status_code} | {(await answer).status_code for answer in requests}

    def ours() -> Counter[str]:
        gc.collect()
        kinds = (type(thing) for thing in gc.get_objects())
        return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("waymark."))

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        assert await overloaded(client) == {200, 429, 504}
        before = ours()
        assert await overloaded(client) == {200, 429, 504}
        assert ours() == before
        assert (app.state.model_server.capacity.requests, app.state.model_server.capacity.tokens) == (0, 0)


async def test_a_draining_service_admits_nothing_and_answers_waiting_requests() -> None:
    stuck = Stuck(echo)
    app = service_app("executor", default=stuck)
    async with one_answered_one_waiting(app, stuck) as (client, answers):
        app.state.model_server.drain()
        problem(await client.get("/health/ready"), 503, "service-unavailable")
        refused = await client.post("/v1/action", json={"state": state(2)})
        problem(refused, 503, "service-unavailable")
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/health/live")).status_code == 200
        stuck.released.set()
        assert [(await answer).json()["action"] for answer in answers] == ["go 0", "go 1"]


def send(url: str, state: dict[str, Any]) -> socket.socket:
    """A request on a connection of its own, whose answer is not waited for."""
    address = httpx.URL(url)
    body = json.dumps({"state": state}).encode()
    assert address.port is not None
    connection = socket.create_connection((address.host, address.port))
    connection.sendall(
        b"POST /v1/action HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return connection
