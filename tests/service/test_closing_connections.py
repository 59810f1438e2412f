"""Connections that are closed while a request is on its way: every caller gets an answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.serving import connected, says, served, service_app
from waymark.clients.services import SyncExecutorClient
from waymark.contracts import Problem
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.middleware.connection_limits import ConnectionLimits

ASK = b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"state":{"task":"boil water","look":"a kitchen","current_subgoal":"x()"}}'
POST = b"POST /v1/action HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
POST = POST % (len(BODY), BODY)
QUICK = ConnectionLimits(head_seconds=1.5, body_seconds=1.5, idle_seconds=1.5)
HALT = 3.0
"""Seconds that the event loop stands still; longer than all of QUICK."""


def app() -> FastAPI:
    """A service whose event loop stands still for a while when it is asked to."""
    app = service_app("executor", default=ScriptedGenerator(says("look around")))

    @app.get("/halt")
    async def halt() -> dict[str, Any]:
        time.sleep(HALT)  # noqa: ASYNC251 - the loop must stand still
        return {}

    return app


def answer(wire: socket.socket) -> int:
    """The status of the next answer; 0 where the connection was closed or reset without one."""
    read = b""
    try:
        while b"\r\n\r\n" not in read and (part := wire.recv(65_536)):
            read += part
    except ConnectionResetError:
        pass
    return int(read[9:12] or 0)


@contextmanager
def halted(url: str) -> Iterator[None]:
    """Within this block the service's event loop stands still."""
    with connected(url) as halting:
        halting.sendall(ASK.replace(b"/info", b"/halt"))
        time.sleep(0.1)
        yield
        assert answer(halting) == 200


# --- halts ------------------------------------------------------------------------------------------------------------


def test_what_comes_while_the_service_stands_still_is_answered() -> None:
    parts = {
        "unused": (b"", ASK),
        "used": (ASK, ASK),
        "head": (ASK[:20], ASK[20:]),
        "body": (POST[:-30], POST[-30:]),
        "used, with a body": (ASK, POST),
    }
    with served(app(), QUICK) as url, ExitStack() as wires:
        sent = {name: wires.enter_context(connected(url)) for name in parts}
        idle = wires.enter_context(connected(url))
        for name, wire in sent.items():
            wire.sendall(parts[name][0])
            if parts[name][0] == ASK:
                assert answer(wire) == 200
        with halted(url):
            for name, wire in sent.items():
                wire.sendall(parts[name][1])
            late = wires.enter_context(connected(url))
            late.sendall(ASK)
        idle.sendall(ASK)  # the halt did not count against it
        assert {name: answer(wire) for name, wire in sent.items()} == dict.fromkeys(parts, 200)
        assert [answer(late), answer(idle)] == [200, 200]


def test_a_caller_with_an_unread_request_is_not_replaced() -> None:
    with served(app(), ConnectionLimits(connections=2)) as url, connected(url) as wire:
        time.sleep(0.2)
        with halted(url):
            wire.sendall(ASK)
            others = [socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=20) for _ in range(3)]
        assert answer(wire) == 200
        for other in others:
            other.close()


# --- closing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", ASK], ids=["unused", "used"])
def test_a_request_sent_while_its_connection_closes_is_answered(before: bytes) -> None:
    with served(app(), ConnectionLimits(head_seconds=0.3, idle_seconds=0.3)) as url, connected(url) as wire:
        if before:
            wire.sendall(before)
            assert answer(wire) == 200
        wire.recv(1, socket.MSG_PEEK)  # the service has closed it, and this caller does not know yet
        wire.sendall(POST)
        time.sleep(0.1)
        read = b""
        while part := wire.recv(65_536):
            read += part
    head, _, body = read.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert "send it again" in Problem.model_validate_json(body).detail


def test_a_connection_that_makes_room_for_another_is_told_so() -> None:
    with served(app(), ConnectionLimits(connections=1)) as url, connected(url) as wire:
        time.sleep(0.3)
        assert httpx.get(f"{url}/health/live").is_success
        assert answer(wire) == 408


def test_a_refused_connection_can_still_read_its_refusal() -> None:
    with served(app(), ConnectionLimits(connections=1)) as url, connected(url) as busy:
        busy.sendall(POST[:-5])
        time.sleep(0.2)
        with connected(url) as wire:
            wire.recv(1, socket.MSG_PEEK)
            wire.sendall(POST * 50)
            time.sleep(0.1)
            assert answer(wire) == 503


# --- the end of a service ---------------------------------------------------------------------------------------------


def test_a_waiting_connection_gets_an_answer_when_the_service_stops() -> None:
    with ExitStack() as wires:
        with served(app()) as url:
            unused, used = (wires.enter_context(connected(url)) for _ in range(2))
            used.sendall(ASK)
            assert answer(used) == 200
        for wire in (unused, used):
            with suppress(OSError):
                wire.sendall(ASK)
            assert answer(wire) == 408


def test_requests_that_came_before_the_service_stops_are_answered() -> None:
    with ExitStack() as wires:
        with served(app()) as url:
            unused, used, halting = (wires.enter_context(connected(url)) for _ in range(3))
            used.sendall(ASK)
            assert answer(used) == 200
            halting.sendall(ASK.replace(b"/info", b"/halt"))
            time.sleep(0.15)
            late = wires.enter_context(connected(url))
            for wire in (unused, used, late):
                wire.sendall(POST)
        assert [answer(wire) for wire in (unused, used, halting, late)] == [200] * 4


# --- our own callers --------------------------------------------------------------------------------------------------


def test_our_clients_send_a_request_again_that_was_not_read() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(408) if len(asked) == 1 else httpx.Response(200, json=[])

    with SyncExecutorClient("http://executor", transport=httpx.MockTransport(handle)) as client:
        assert client.actions([]) == []
    assert len(asked) == 2
