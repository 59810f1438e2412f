"""Connections as callers and attackers open them: raw bytes on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import STATE, connected, says, served, service_app
from waymark.contracts import ActionResponse, Problem
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.middleware.connection_limits import ConnectionLimits, Guard
from waymark.serving.middleware.connections import Connection

BODY = json.dumps({"state": STATE}).encode()
HEAD = b"POST /v1/action HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, BODY[:9], len(BODY) - 9, BODY[9:])
QUICK = ConnectionLimits(head_seconds=0.4, body_seconds=0.4, body_rate=1_000, idle_seconds=0.4, write_seconds=0.5)
CURL = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
JAVA = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(service_app("executor", default=ScriptedGenerator(says("look around")))) as url:
        yield url


@pytest.fixture(scope="module")
def quick_url() -> Iterator[str]:
    """A service with short times."""
    with served(service_app("executor", default=ScriptedGenerator(says("look around"))), QUICK) as url:
        yield url


def answers(wire: socket.socket, count: int = 1) -> list[tuple[int, bytes]]:
    """Status and body of the next answers."""
    responses: list[tuple[int, bytes]] = []
    read = b""
    while len(responses) < count:
        match = re.match(rb"HTTP/1\.1 (\d+) .*?content-length: (\d+)\r\n.*?\r\n\r\n", read, re.DOTALL)
        if match is not None and len(read) >= match.end() + int(match[2]):
            end = match.end() + int(match[2])
            responses.append((int(match[1]), read[match.end() : end]))
            read = read[end:]
            continue
        part = wire.recv(65_536)
        assert part, f"closed after {read!r}"
        read += part
    return responses


def is_closed(wire: socket.socket, *, wait: bool = True) -> bool:
    """Whether the service closes it, or has closed it."""
    wire.setblocking(wait)
    try:
        while wire.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


# --- upgrades ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [CURL, JAVA, WEBSOCKET, CURL.replace(b"h2c", b"TLS/1.2, anything")])
@pytest.mark.parametrize("body", [LENGTH + b"\r\n" + BODY, b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED])
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "byte by byte"])
def test_an_offer_to_upgrade_is_ignored(url: str, offer: bytes, body: bytes, apart: bool) -> None:
    request = HEAD + offer + body
    with connected(url) as wire:
        for part in [request[place : place + 1] for place in range(len(request))] if apart else [request]:
            wire.sendall(part)
        ((status, answer),) = answers(wire)
        assert status == 200, answer
        assert ActionResponse.model_validate_json(answer).action == "look around"


def test_requests_after_an_ignored_offer_are_answered(url: str) -> None:
    offered = HEAD + CURL + LENGTH + b"\r\n" + BODY
    plain = b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(url) as wire:
        wire.sendall(offered + plain + offered + plain.replace(b"\r\n\r\n", b"\r\n" + CURL + b"\r\n"))
        assert [status for status, _ in answers(wire, 4)] == [200] * 4


def test_a_tunnel_is_refused_and_the_service_goes_on(url: str) -> None:
    with connected(url) as wire:
        wire.sendall(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\nabc")
        assert wire.recv(65_536).startswith(b"HTTP/1.1 4")
        assert is_closed(wire)
    assert httpx.get(f"{url}/health/live").is_success


# --- size of heads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /info HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000,
        b"GET /info HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: localhost\r\n" + b"X-Long: 1234567890\r\n" * 4_000 + b"\r\n",
        b"GET /info HTTP/1.1\r\nHost: localhost\r\n" + b"X: \r\n" * 300 + b"\r\n",
        b"GET /" + b"x" * 70_000,
        b"GET /?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /info HTTP/1.1\r\n" + b"X" * 70_000,
        b"POST /nope HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000 + b"\r\nUpgrade: h2c\r\n\r\n",
    ],
    ids=["open", "whole", "many", "tiny", "url", "query", "name", "upgrade"],
)
def test_a_head_over_the_limit_is_431_and_closed(url: str, head: bytes) -> None:
    with connected(url) as wire:
        wire.sendall(head)
        ((status, body),) = answers(wire)
        assert status == 431
        assert Problem.model_validate_json(body).status == 431
        assert is_closed(wire)


def test_a_head_under_the_limit_is_answered(url: str) -> None:
    assert httpx.get(f"{url}/info", headers={"X-Long": "x" * 60_000}).is_success


def test_a_header_of_100_mb_is_refused_without_being_kept(url: str) -> None:
    with connected(url) as wire:
        wire.sendall(b"GET /info HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        slowest = 0.0
        for _ in range(100):
            try:
                wire.sendall(b"x" * 1_000_000)
            except OSError:  # it does not listen for ever
                break
            began = time.monotonic()
            assert httpx.get(f"{url}/health/live").is_success
            slowest = max(slowest, time.monotonic() - began)
        assert answers(wire)[0][0] == 431
    assert slowest < 2


@pytest.mark.parametrize("rest", [b"1;x=" + b"x" * 200_000, b"0\r\nX-Long: " + b"x" * 200_000])
def test_extensions_and_trailers_of_chunks_are_bounded(url: str, rest: bytes) -> None:
    with connected(url) as wire:
        wire.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + rest)
        assert is_closed(wire)


# --- time -------------------------------------------------------------------------------------------------------------


def trickle(wire: socket.socket, data: bytes, seconds: float) -> bytes:
    """Send a byte every so often, and return what comes back before the service hangs up."""
    wire.settimeout(seconds)
    read = b""
    try:
        for place in range(len(data)):
            wire.sendall(data[place : place + 1])
            try:
                part = wire.recv(65_536)
            except TimeoutError:
                continue
            if not part:
                break
            read += part
        else:
            pytest.fail("it was never closed")
    except OSError:
        pass
    return read


@pytest.mark.parametrize("before", [b"", b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
def test_a_head_that_trickles_in_is_cut_off(quick_url: str, before: bytes) -> None:
    with connected(quick_url) as wire:
        if before:
            wire.sendall(before)
            assert answers(wire)[0][0] == 200
        assert b"HTTP/1.1 408" in trickle(wire, HEAD * 5, 0.05)


def test_a_body_that_trickles_in_is_cut_off(quick_url: str) -> None:
    with connected(quick_url) as wire:
        wire.sendall(HEAD + b"Content-Length: 5000\r\n\r\n")
        assert b"HTTP/1.1 408" in trickle(wire, b" " * 500, 0.05)


def test_a_body_that_stalls_after_a_fast_start_is_refused(quick_url: str) -> None:
    with connected(quick_url) as wire:
        wire.sendall(HEAD + b"Content-Length: 3000000\r\n\r\n" + b" " * 2_000_000)
        assert answers(wire)[0][0] == 408
        assert is_closed(wire)


def test_a_body_after_its_refusal_is_not_read_for_ever(quick_url: str) -> None:
    with connected(quick_url) as wire:
        wire.sendall(b"POST /nope HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 3000000\r\n\r\n")
        trickle(wire, b" " * 500, 0.05)


@pytest.mark.parametrize("before", [b"", b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["unused", "used"])
def test_an_idle_connection_is_closed(quick_url: str, before: bytes) -> None:
    with connected(quick_url) as wire:
        wire.sendall(before)
        assert is_closed(wire)


def test_a_caller_that_never_reads_its_answers_is_cut_off(quick_url: str) -> None:
    address = httpx.URL(quick_url)
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # so that answers pile up in the service
        wire.settimeout(60)
        wire.connect((address.host, address.port))
        head = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        wire.sendall(head * 30)
        until = time.monotonic() + 60
        while 'reason="not_reading"} 1.0' not in httpx.get(f"{quick_url}/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                wire.sendall(head)  # until the system's buffers are full


def test_pipelined_requests_are_answered_in_order(quick_url: str) -> None:
    with connected(quick_url) as wire:
        heads = (f"GET /{place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for place in range(20))
        wire.sendall(b"".join(heads))
        assert [f"/{place};" in body.decode() for place, (_, body) in enumerate(answers(wire, 20))] == [True] * 20


def test_a_caller_that_pipelines_without_end_is_cut_off(quick_url: str) -> None:
    with connected(quick_url) as wire:
        with contextlib.suppress(OSError):  # closed while it sends
            wire.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10_000)
        assert is_closed(wire)
    assert 'reason="pipelining"} 1.0' in httpx.get(f"{quick_url}/metrics").text


def test_a_slow_body_at_the_least_rate_is_answered(quick_url: str) -> None:
    body = BODY + b" " * 1_500
    with connected(quick_url) as wire:
        wire.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for place in range(0, len(body), 200):
            wire.sendall(body[place : place + 200])
            time.sleep(0.1)
        assert answers(wire)[0][0] == 200


@pytest.mark.parametrize("size", [1, 20])
def test_a_body_of_very_small_chunks_is_refused_early(quick_url: str, size: int) -> None:
    chunk = b"%x\r\n" % size + b" " * size + b"\r\n"
    with connected(quick_url) as wire:
        wire.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):  # closed while it sends
            wire.sendall(chunk * 100_000)
        ((status, body),) = answers(wire)
        assert status == 400
        assert "larger chunks" in Problem.model_validate_json(body).detail
    assert 'reason="body_in_pieces"}' in httpx.get(f"{quick_url}/metrics").text


@pytest.mark.parametrize(("size", "count"), [(1, 900), (64, 4_000)])
def test_a_body_of_small_chunks_is_answered(quick_url: str, size: int, count: int) -> None:
    chunk = b"%x\r\n" % size + b" " * size + b"\r\n"
    with connected(quick_url) as wire:
        wire.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * count)
        wire.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
        assert answers(wire)[0][0] == 200


# --- number -----------------------------------------------------------------------------------------------------------


def test_silent_connections_make_room_for_those_that_ask() -> None:
    app = service_app("executor", default=ScriptedGenerator(says("look around")))
    with served(app, ConnectionLimits(connections=10)) as url:
        silent = [socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=5) for _ in range(60)]
        time.sleep(0.3)
        for connection in silent[-5:]:
            connection.sendall(b"G")
        try:
            assert [httpx.get(f"{url}/health/live").status_code for _ in range(20)] == [200] * 20
            assert sum(is_closed(connection) for connection in silent[:40]) == 40
            counted = httpx.get(f"{url}/metrics").text
        finally:
            for connection in silent:
                connection.close()
    reasons = dict(re.findall(r'waymark_connections_closed_total\{reason="(\w+)"\} (\S+)', counted))
    assert float(reasons["replaced"]) >= 1
    assert float(reasons["replaced"]) + float(reasons.get("too_many", 0)) >= 50


def test_connections_over_the_limit_are_answered_503() -> None:
    app = service_app("executor", default=ScriptedGenerator(says("look around")))
    with served(app, ConnectionLimits(connections=1)) as url, connected(url) as busy:
        busy.sendall(HEAD + b"Content-Length: 5000\r\n\r\n")
        time.sleep(0.2)
        with connected(url) as other:
            ((status, body),) = answers(other)
            assert (status, Problem.model_validate_json(body).status) == (503, 503)
            assert is_closed(other)


class Overdue(Connection):
    """A connection that is over its time limits."""

    def __init__(self, guard: Guard) -> None:
        self._its_guard = guard

    def check(self, now: float) -> bool:
        self._its_guard.forget(self)
        return True


@pytest.mark.anyio
async def test_a_thousand_overdue_connections_do_not_hold_the_event_loop() -> None:
    guard = Guard(ConnectionLimits(idle_seconds=0.08))
    guard.open = {Overdue(guard) for _ in range(1_000)}
    watching = asyncio.create_task(guard.watch())
    still_open = [1_000]
    while still_open[-1]:
        await asyncio.sleep(0)
        still_open.append(len(guard.open))
    watching.cancel()
    assert max(before - after for before, after in itertools.pairwise(still_open)) == 8


# --- memory -----------------------------------------------------------------------------------------------------------


def connections_in_memory() -> list[Connection]:
    """All connections that Python holds."""
    return [thing for thing in gc.get_objects() if isinstance(thing, Connection)]


def left_over(older: list[Connection]) -> int:
    """Number of connections in memory without those of earlier tests."""
    known = set(map(id, older))
    return sum(id(connection) not in known for connection in connections_in_memory())


@pytest.mark.parametrize("request_parts", [[HEAD + LENGTH + b"\r\n" + BODY], [HEAD, LENGTH], []], ids=len)
def test_closed_connections_leave_nothing_for_the_garbage_collector(request_parts: list[bytes]) -> None:
    gc.collect()
    older = connections_in_memory()
    gc.disable()
    try:
        with served(service_app("executor", default=ScriptedGenerator(says("look around")))) as url:
            for _ in range(10):
                with connected(url) as wire:
                    for part in request_parts:
                        wire.sendall(part)
                    if len(request_parts) == 1:
                        assert answers(wire)[0][0] == 200
            assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200  # so all before are accepted
            deadline = time.monotonic() + 10
            while left_over(older) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert left_over(older) == 0
    finally:
        gc.enable()
