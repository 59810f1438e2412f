"""What a hostile server answers is bounded in bytes, time and redirects, and becomes an error of ours."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.hostile_server import (
    Answer,
    HostileServer,
    at_once,
    bomb,
    drip,
    dripping_head,
    endless,
    huge_header,
    redirect,
)
from waymark.clients.aiohttp_transport import AiohttpTransport
from waymark.clients.answer_limits import AnswerRefused, decompress
from waymark.clients.chat import ChatClient, Endpoint, Limits
from waymark.clients.services import EvaluationClient, ExecutorClient, SyncEvaluationClient, SyncExecutorClient
from waymark.errors import InvalidInput, ServiceError, ServiceRejected, WaymarkError
from waymark.loadtest.send_requests import connect
from waymark.loadtest.target import find

pytestmark = pytest.mark.anyio
TOO_LARGE = 100
"""MB of memory that no answer may take here; each of the bombs is 300."""
PATIENCE = 15.0
SECONDS = 1.0
TWICE = bomb(300, 2)
ONCE = bomb(300, 1)
COMPLETION = b'{"choices":[{"message":{"content":"1. navigate_to(kitchen)"}}]}'


def zipped(body: bytes, *encodings: str) -> Answer:
    return at_once(body, *(f"content-encoding: {encoding}" for encoding in encodings))


BOMBS = [
    pytest.param(zipped(TWICE, "gzip, gzip"), id="gzipped twice"),
    pytest.param(zipped(TWICE, "gzip", "gzip"), id="twice, in two headers"),
    pytest.param(zipped(ONCE, "gzip"), id="gzipped once"),
    pytest.param(zipped(ONCE, "deflate"), id="called deflate"),
    pytest.param(zipped(b"x" * 100, "br"), id="brotli"),
    pytest.param(endless, id="endless"),
    pytest.param(at_once(ONCE, "content-encoding: gzip", status="500 Internal Server Error"), id="of an error"),
    pytest.param(huge_header, id="huge header"),
]
SLOW = [pytest.param(drip, id="drip"), pytest.param(dripping_head, id="dripping head")]


class Measured:
    """The seconds and the peak of Python's memory, in MB, of a block."""

    def __enter__(self) -> Measured:
        tracemalloc.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()


def chat(server: HostileServer, attempts: int = 1) -> ChatClient:
    limits = Limits(attempts=attempts, timeout=SECONDS, first_pause=0.01)
    return ChatClient(Endpoint(f"{server.url}/v1", "large"), limits)


async def ask_chat(server: HostileServer) -> None:
    async with chat(server) as client:
        await client.ask([{"role": "user", "content": "?"}])


async def ask_service(server: HostileServer) -> None:
    async with ExecutorClient(server.url, timeout=SECONDS, retry_seconds=0) as client:
        await client.info()


async def ask_as_worker(server: HostileServer) -> None:
    async with ExecutorClient(server.url, timeout=SECONDS, retry_seconds=0, transport=AiohttpTransport()) as client:
        await client.info()


async def ask_sync(server: HostileServer) -> None:
    with SyncExecutorClient(server.url, timeout=SECONDS, retry_seconds=0) as client:
        client.info()


async def ask_as_loadtest(server: HostileServer) -> None:
    async with connect(key=None, timeout=SECONDS) as session:
        await find(session, server.url, api="auto", model=None)


async def follow(server: HostileServer) -> None:
    async with EvaluationClient(server.url, timeout=SECONDS, retry_seconds=0) as client:
        async for _ in client.events("some"):
            pass


ASKING = (ask_chat, ask_service, ask_as_worker, ask_sync, ask_as_loadtest)


@pytest.mark.parametrize("answer", BOMBS)
@pytest.mark.parametrize("ask", ASKING)
async def test_a_decompression_bomb_is_refused_in_little_memory(
    answer: Answer, ask: Callable[[HostileServer], object]
) -> None:
    with HostileServer(answer) as server, Measured() as measured, pytest.raises(WaymarkError):
        await ask(server)  # type: ignore[misc]
    assert measured.peak < TOO_LARGE * 2.5  # 64 MB of an answer, as it grows and is copied
    assert measured.seconds < PATIENCE


async def test_a_decompression_bomb_from_the_planner_is_one_error() -> None:
    with HostileServer(zipped(TWICE, "gzip, gzip")) as server, Measured() as measured:
        with pytest.raises(ServiceRejected, match="compressed as 'gzip, gzip'") as caught:
            async with chat(server, attempts=6) as client:
                await client.ask([{"role": "user", "content": "?"}])
        assert server.connections == 1
    assert caught.value.remedy
    assert measured.peak < 10


@pytest.mark.parametrize("answer", SLOW)
@pytest.mark.parametrize("ask", [ask_chat, ask_service, ask_as_worker, ask_as_loadtest])
async def test_an_answer_that_arrives_too_slowly_ends_with_the_deadline(
    answer: Answer, ask: Callable[[HostileServer], object]
) -> None:
    with HostileServer(answer) as server, Measured() as measured, pytest.raises(WaymarkError):
        await ask(server)  # type: ignore[misc]
    assert measured.seconds < PATIENCE


async def test_a_slow_body_ends_the_sync_client_at_its_deadline() -> None:
    with HostileServer(drip) as server, Measured() as measured, pytest.raises(ServiceError):
        await ask_sync(server)
    assert measured.seconds < PATIENCE


async def test_compressed_events_are_refused() -> None:
    head = "content-type: text/event-stream"
    with HostileServer(at_once(ONCE, head, "content-encoding: gzip")) as server, Measured() as measured:
        with pytest.raises(ServiceError, match="compressed"):
            await follow(server)
        with SyncEvaluationClient(server.url, retry_seconds=0) as client, pytest.raises(ServiceError):
            list(client.events("some"))
    assert measured.peak < 10


@pytest.mark.parametrize("ask", [ask_chat, ask_service, ask_as_worker, ask_sync])
async def test_a_redirect_is_not_followed(ask: Callable[[HostileServer], object]) -> None:
    with HostileServer(redirect) as server, pytest.raises(ServiceError, match="307"):
        await ask(server)  # type: ignore[misc]


async def test_an_answer_that_is_gzipped_once_is_read() -> None:
    with HostileServer(zipped(gzip.compress(COMPLETION), "gzip")) as server:
        async with chat(server) as client:
            answer = await client.ask([{"role": "user", "content": "?"}])
    assert answer.text == "1. navigate_to(kitchen)"


@pytest.mark.parametrize(
    ("body", "encoding"), [(b"no gzip", "gzip"), (gzip.compress(b"x" * 99)[:-9], "gzip"), (b"x", "zstd")]
)
def test_a_body_that_contradicts_its_encoding_is_refused(body: bytes, encoding: str) -> None:
    with pytest.raises(AnswerRefused):
        decompress(body, [encoding])


@pytest.mark.parametrize("key", ["sk-secret\nx", "sk-sécret", "sk secret"])
def test_a_key_that_no_header_can_hold_is_refused_unquoted(key: str) -> None:
    for use in (
        lambda: Endpoint("http://model/v1", "large", key),
        lambda: ExecutorClient("http://service", api_key=key),
        lambda: SyncExecutorClient("http://service", api_key=key),
    ):
        with pytest.raises(InvalidInput) as caught:
            use()
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://me:hun/ter2@host/v1", "ftp://me:hunter2@host", "http://me:hunter2@host:port"])
def test_an_endpoint_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Endpoint(url, "large")
    assert "ter2" not in str(caught.value)


def test_an_endpoints_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Endpoint("http://me:hunter2@host/v1?key=hunter2", "large", "hunter2"))
    client = SyncExecutorClient("http://me:hunter2@127.0.0.1:1", retry_seconds=0)
    with pytest.raises(ServiceError) as caught:
        client.info()
    assert "hunter2" not in str(caught.value)
