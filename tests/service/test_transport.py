"""The worker's transport on real sockets: answers, refusals, and the three ways in which none comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.serving import served
from waymark.clients.aiohttp_transport import AiohttpTransport
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import AgentState
from waymark.errors import ControllerUnavailable, DeadlineExceeded, ServiceRejected
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

STATE = AgentState(task="Your task is to boil water.", look="This room is called the kitchen — or so.")


@asynccontextmanager
async def controller(
    answer: Callable[[asyncio.StreamWriter], None], seconds: float = 10.0
) -> AsyncIterator[ControllerClient]:
    """A client of a service that reads a request and then does this with the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with ControllerClient(url, timeout=seconds, retry_seconds=0, transport=AiohttpTransport()) as client:
        yield client
    server.close()


async def test_a_service_is_asked_and_its_refusal_understood() -> None:
    generator = ScriptedGenerator(lambda _: [("look around", -1.0)])
    settings = ServiceSettings(api_keys="secret")
    app = create_app("executor", {"default": scripted_model("default", "executor", generator)}, settings)
    with served(app) as url:
        async with ExecutorClient(url, api_key="secret", transport=AiohttpTransport()) as client:
            assert await client.ready()
            assert (await client.info()).service == "executor"
            assert [(await client.action(STATE)).action for _ in range(3)] == ["look around"] * 3
            with pytest.raises(ServiceRejected) as refused:
                await client.action(STATE, model="big")
            assert refused.value.field == "model"
        async with ExecutorClient(url, api_key="guessed", transport=AiohttpTransport()) as stranger:
            with pytest.raises(ServiceRejected, match="401"):
                await stranger.action(STATE)


async def test_an_unreachable_service_is_an_error() -> None:
    async with ControllerClient("http://127.0.0.1:1", retry_seconds=0, transport=AiohttpTransport()) as client:
        assert not await client.ready()
        with pytest.raises(ControllerUnavailable, match="cannot be reached"):
            await client.subgoal(STATE)


async def test_a_connection_breaks_before_its_answer() -> None:
    async with controller(asyncio.StreamWriter.close) as client:
        with pytest.raises(ControllerUnavailable, match="cannot be reached"):
            await client.subgoal(STATE)


async def test_no_answer_before_the_deadline_is_deadline_exceeded() -> None:
    async with controller(lambda _: None, seconds=0.2) as client:
        with pytest.raises(DeadlineExceeded):
            await client.subgoal(STATE)
