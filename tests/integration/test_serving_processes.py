"""Services as processes: stopped, restarted and overrun, while callers go on asking."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from waymark.clients.services import ExecutorClient
from waymark.contracts import AgentState
from waymark.serving.middleware.connections import REPLACEABLE_SECONDS

pytestmark = pytest.mark.anyio
SECONDS = 60
ROOT = Path(__file__).parents[2]


class Echo:
    """An executor that answers each state with its sub-goal, `seconds` a batch."""

    def __init__(self, seconds: float, *, files: int | None = None, **settings: object) -> None:
        self._files = files
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._seconds = seconds
        self._settings = {f"WAYMARK_{name}": str(value) for name, value in settings.items()}
        self.start()

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
        limit = [] if self._files is None else ["prlimit", f"--nofile={self._files}"]
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-m", "tests.echo_service", str(self._seconds)],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "WAYMARK_PORT": str(self.port), **self._settings},
            stderr=subprocess.DEVNULL,
        )

    def wait_until(self, health: str) -> None:
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            try:
                if httpx.get(f"{self.url}/health/{health}", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        pytest.fail(f"it was never {health}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@pytest.fixture
def echo() -> Iterator[type[Echo]]:
    """Starts echo services; ends those that a failed test leaves."""
    started: list[Echo] = []

    class Tracked(Echo):
        def __init__(self, seconds: float, *, wait: bool = True, files: int | None = None, **settings: object) -> None:
            super().__init__(seconds, files=files, **settings)
            started.append(self)
            if wait:
                self.wait_until("ready")

    yield Tracked
    for service in started:
        service.process.kill()
        service.process.wait()


class InTurn(httpx.AsyncBaseTransport):
    """A load balancer without health checks: one replica after the other."""

    def __init__(self, *urls: str) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._turn = count()
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        chosen = self._urls[next(self._turn) % len(self._urls)]
        request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        await self._network.aclose()


def state(number: int) -> AgentState:
    return AgentState(task="Go.", look="This room is called the hall.", current_subgoal=f"go({number})")


async def metric(client: httpx.AsyncClient, sample: str) -> float:
    """What `/metrics` gives for one sample, its labels included."""
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{sample} "))


async def in_flight(client: httpx.AsyncClient) -> int:
    """How many requests the service has taken and not answered, but for this one."""
    return int(await metric(client, "waymark_requests_in_flight")) - 1


async def ask_all(client: ExecutorClient, numbers: range, *, callers: int, answers: Counter[str | None]) -> None:
    """Each number once, by several callers at once."""
    waiting = iter(numbers)

    async def call() -> None:
        for number in waiting:
            answer = await client.action(state(number))
            assert answer.action == f"go {number}"
            answers[answer.action] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())


async def test_during_warm_up_the_service_is_live_and_answers_503(echo: type[Echo]) -> None:
    service = echo(5.0, wait=False)
    service.wait_until("live")
    async with httpx.AsyncClient(base_url=service.url, timeout=SECONDS, trust_env=False) as client:
        responses = [
            await client.get("/health/ready"),
            await client.post("/v1/action", json={"state": state(0).model_dump()}),
        ]
        assert [response.status_code for response in responses] == [503, 503]
        assert [response.headers["retry-after"] for response in responses] == ["1", "1"]
        service.wait_until("ready")
        answer = await client.post("/v1/action", json={"state": state(1).model_dump()})
        assert answer.json()["action"] == "go 1"


async def test_a_service_that_cannot_warm_up_ends_with_an_error(echo: type[Echo]) -> None:
    assert await asyncio.to_thread(echo(-1.0, wait=False).process.wait, SECONDS) == 2


async def test_a_terminated_service_answers_its_requests_and_exits_with_0(echo: type[Echo]) -> None:
    service = echo(0.2, MAX_BATCH=4)
    async with httpx.AsyncClient(base_url=service.url, timeout=SECONDS, trust_env=False) as client:
        body = [{"state": state(number).model_dump()} for number in range(16)]
        requests = [asyncio.create_task(client.post("/v1/action", json=payload)) for payload in body]
        taken = 0
        while taken < len(requests):
            await asyncio.sleep(0.01)
            taken = await in_flight(client) + sum(request.done() for request in requests)
        code = await asyncio.to_thread(service.stop)
        answers = [(await request).json()["action"] for request in requests]
        assert answers == [f"go {number}" for number in range(16)]
        assert code == 0
        with pytest.raises(httpx.ConnectError):
            await client.get("/health/ready")


async def test_a_terminated_service_gives_up_after_its_grace(echo: type[Echo]) -> None:
    service = echo(0.3, MAX_BATCH=1, MAX_QUEUE_SECONDS=3_600, GRACE_SECONDS=0.5)
    async with httpx.AsyncClient(base_url=service.url, timeout=SECONDS, trust_env=False) as client:
        body = [{"state": state(number).model_dump()} for number in range(200)]
        requests = [asyncio.create_task(client.post("/v1/action", json=payload)) for payload in body]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        assert await asyncio.to_thread(service.stop) == 0
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
    answers = [outcome for outcome in outcomes if isinstance(outcome, httpx.Response)]
    # A caller whose request was not read gets 408 (docs/decisions/0305).
    assert {answer.status_code for answer in answers} - {408} == {200, 503}
    assert {answer.json()["type"] for answer in answers if answer.status_code == 503} == {
        "urn:waymark:service-unavailable"
    }


async def test_a_caller_that_sends_too_much_still_gets_the_answer(echo: type[Echo]) -> None:
    port, body = echo(0.0).port, b"x" * 6_000_000

    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as caller:
            caller.sendall(
                b"POST /v1/action HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            return caller.makefile("rb").readline()

    assert b" 413 " in await asyncio.to_thread(send)


async def test_a_rolling_restart_of_two_replicas_loses_nothing(echo: type[Echo]) -> None:
    replicas = [echo(0.005), echo(0.005)]
    transport = InTurn(*(replica.url for replica in replicas))
    answers: Counter[str | None] = Counter()

    def restart() -> None:
        for replica in replicas:
            assert replica.stop() == 0
            replica.start()
            replica.wait_until("ready")

    either = ExecutorClient("http://localhost", transport=transport, timeout=SECONDS, retry_seconds=SECONDS)
    async with either as client:
        restarting = asyncio.create_task(asyncio.to_thread(restart))
        sent = 0
        while not restarting.done():
            await ask_all(client, range(sent, sent + 10), callers=5, answers=answers)
            sent += 10
            await asyncio.sleep(0.05)  # leaves the machine to the replicas that start
        await restarting
    assert answers == Counter(f"go {number}" for number in range(sent))


async def test_thousands_of_requests_over_capacity_get_one_answer_each(echo: type[Echo]) -> None:
    service = echo(0.01, MAX_QUEUE=16, MAX_BATCH=8)
    answers: Counter[str | None] = Counter()
    async with ExecutorClient(service.url, timeout=SECONDS, retry_seconds=SECONDS) as client:
        await ask_all(client, range(1_000), callers=48, answers=answers)
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
        refused = await metric(http, 'waymark_rejected_total{reason="queue_full"}')
    assert answers == Counter(f"go {number}" for number in range(1_000))
    assert refused > 0


def test_slow_callers_cannot_take_all_files(echo: type[Echo]) -> None:
    service = echo(0.0, files=64)
    slow = [socket.create_connection(("127.0.0.1", service.port), timeout=5) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            try:
                connection.sendall(b"POST /v1/action HTTP/1.1\r\nX: "[: 1 + number % 20])
            except OSError:
                continue
        body = {"state": state(1).model_dump(mode="json")}
        time.sleep(5 * REPLACEABLE_SECONDS)  # a caller is slow, and makes room, once it has been silent that long
        answers = [httpx.post(f"{service.url}/v1/action", json=body, timeout=5, trust_env=False) for _ in range(30)]
        files = len(os.listdir(f"/proc/{service.process.pid}/fd"))
    finally:
        for connection in slow:
            connection.close()
    assert {answer.status_code for answer in answers} == {200}
    assert files < 60
    assert service.stop() == 0
