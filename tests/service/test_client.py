"""The clients against the real apps in this process, and against services that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from waymark.client import ControllerClient, ExecutorClient
from waymark.contracts import AgentState
from waymark.errors import (
    ControllerUnavailable,
    DeadlineExceeded,
    ExecutorUnavailable,
    ServiceError,
    ServiceRejected,
)
from waymark.generation.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.models import scripted_model
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

STATE = AgentState(task="Your task is to boil water.", look="This room is called the kitchen.")


@asynccontextmanager
async def executor() -> AsyncIterator[ExecutorClient]:
    generator = ScriptedGenerator(lambda _: [("look around", -1.0), ("end", -2.0), ("inventory", -3.0)])
    app = create_app("executor", {"default": scripted_model("default", "executor", generator)}, ServiceSettings())
    async with (
        app.router.lifespan_context(app),
        ExecutorClient("http://executor", transport=httpx.ASGITransport(app)) as client,
    ):
        yield client


def controller(handler: Callable[[httpx.Request], httpx.Response], *, retry_seconds: float = 5.0) -> ControllerClient:
    return ControllerClient("http://c", transport=httpx.MockTransport(handler), retry_seconds=retry_seconds)


async def test_an_executor_is_asked_for_actions_and_for_the_best_of_some() -> None:
    async with executor() as client:
        assert await client.ready()
        assert (await client.info()).service == "executor"
        free = await client.action(STATE, n=2)
        bound = await client.action(STATE, valid_actions=["inventory", "go to kitchen"])
    assert [one.action for one in free.alternatives] == ["look around", None]
    assert bound.action == "inventory"


async def test_a_controller_is_asked_for_subgoals() -> None:
    app = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), ControllerClient("http://c", transport=transport) as client:
        answer = await client.subgoal(STATE, n=3)
    assert len({one.subgoal for one in answer.alternatives}) == 3
    assert answer.subgoal == answer.alternatives[0].subgoal


async def test_a_rejected_request_says_which_field_and_is_not_repeated() -> None:
    async with executor() as client:
        with pytest.raises(ServiceRejected, match="big") as caught:
            await client.action(STATE, model="big")
    assert caught.value.field == "model"


async def test_a_service_that_starts_is_waited_for() -> None:
    app = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    real = httpx.ASGITransport(app)
    calls = 0

    class Starting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise httpx.ConnectError("refused")
            return httpx.Response(503) if calls == 2 else await real.handle_async_request(request)

    async with app.router.lifespan_context(app), ControllerClient("http://c", transport=Starting()) as client:
        assert (await client.subgoal(STATE)).model == "default"
    assert calls == 3


async def test_an_absent_service_is_named_once_the_budget_is_spent() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ControllerUnavailable, match="http://c cannot be reached: refused"):
        await controller(refuse, retry_seconds=0.2).subgoal(STATE)
    assert not await controller(refuse).ready()


async def test_each_status_has_its_error() -> None:
    def answering(status: int) -> ControllerClient:
        return controller(lambda _: httpx.Response(status), retry_seconds=0.0)

    with pytest.raises(ControllerUnavailable):
        await answering(429).subgoal(STATE)
    with pytest.raises(DeadlineExceeded):
        await answering(504).subgoal(STATE)
    with pytest.raises(ServiceRejected):
        await answering(404).subgoal(STATE)
    with pytest.raises(ServiceError) as caught:
        await answering(500).subgoal(STATE)
    assert caught.type is ServiceError
    with pytest.raises(ServiceError, match="something else"):
        await controller(lambda _: httpx.Response(200, json={})).subgoal(STATE)


async def test_a_service_that_does_not_answer_in_time_is_not_asked_again() -> None:
    calls = []

    def hang(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise httpx.ReadTimeout("too slow")

    with pytest.raises(DeadlineExceeded):
        await controller(hang).subgoal(STATE)
    assert len(calls) == 1


async def test_before_it_is_ready_an_executor_is_unavailable() -> None:
    app = create_app("executor", {"default": scripted_model("default", "executor")}, ServiceSettings())
    client = ExecutorClient("http://e", transport=httpx.ASGITransport(app), retry_seconds=0.0)
    assert not await client.ready()
    with pytest.raises(ExecutorUnavailable, match="starting"):
        await client.action(STATE)
