"""Callers that leave: while their body is read, while they wait, while their answer is written."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.serving import STATE, Stuck, served, service_app
from waymark.serving.middleware.connection_limits import ConnectionLimits

BODY = json.dumps({"state": STATE}).encode()


def counted(url: str, route: str) -> dict[str, float]:
    """How often a route was answered, by status."""
    text = httpx.get(f"{url}/metrics").text
    samples = re.findall(r'waymark_request_seconds_count\{route="([^"]+)",status="(\d+)"\} (\S+)', text)
    return {status: float(count) for name, status, count in samples if name == route}


def wait_until_counted(url: str, route: str, status: str) -> dict[str, float]:
    give_up = time.monotonic() + 10
    while status not in (counts := counted(url, route)) and time.monotonic() < give_up:
        time.sleep(0.05)
    return counts


@contextmanager
def leaving(url: str, sent: bytes) -> Iterator[None]:
    """Send something, do something, hang up."""
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as wire:
        wire.sendall(sent)
        yield


@pytest.mark.parametrize("route", ["/v1/action", "/v1/completions", "/mcp"])
def test_a_caller_that_leaves_during_its_body_counts_as_gone(route: str) -> None:
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    with served(service_app("executor", default=Stuck())) as url:
        with leaving(url, head + b"Content-Length: 5000\r\n\r\n{"):
            time.sleep(0.2)
        with leaving(url, head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
            time.sleep(0.2)
        name = route if route != "/mcp" else "unknown"
        assert wait_until_counted(url, name, "499") == {"499": 2}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/action", BODY),
        ("/v1/completions", json.dumps({"model": "default", "prompt": "x"}).encode()),
        ("/v1/completions", json.dumps({"model": "default", "prompt": "x", "stream": True}).encode()),
    ],
)
def test_a_caller_that_leaves_while_it_waits_is_gone(route: str, body: bytes) -> None:
    stuck = Stuck()
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with served(service_app("executor", default=stuck)) as url:
        with leaving(url, head.encode() + body):
            stuck.entered.wait(10)
        counts = wait_until_counted(url, route, "499")
        stuck.released.set()
        assert counts == {"499": 1}


def test_a_caller_that_leaves_during_its_answer_is_no_failure() -> None:
    with served(service_app("executor", default=Stuck())) as url:
        for _ in range(20):
            with leaving(url, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5):
                pass
        time.sleep(0.5)
        assert "500" not in counted(url, "/openapi.json")


# --- liveness ---------------------------------------------------------------------------------------------------------


def test_liveness_needs_no_thread() -> None:
    app: FastAPI = service_app("executor", default=Stuck())
    held = threading.Event()

    @app.get("/hold")
    def hold() -> dict[str, Any]:
        held.wait(20)
        return {}

    async def ask(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=None), timeout=30) as client:
            holding = [asyncio.create_task(client.get("/hold")) for _ in range(80)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            try:
                assert (await client.get("/health/live")).status_code == 200
                assert time.monotonic() - began < 2
            finally:
                held.set()
                await asyncio.gather(*holding)

    patient = ConnectionLimits(head_seconds=60, idle_seconds=60)  # a machine that halts for seconds closes nothing
    with served(app, patient) as url:
        asyncio.run(ask(url))
