"""The env-runner lives while Redis hangs and many callers wait for it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.serving import served
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.clients.services import ControllerClient, ExecutorClient


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Redis' address and its process, which is awake at the end."""
    with EmbeddedRedis(tmp_path) as running:
        yield running.url, running.part.process.pid
        os.kill(running.part.process.pid, signal.SIGCONT)


def test_the_env_runner_lives_while_redis_hangs(redis: tuple[str, int], tmp_path: Path) -> None:
    url, number = redis
    store = JobStore(url)
    clients = ControllerClient("http://127.0.0.1:1"), ExecutorClient("http://127.0.0.1:1")
    app = create_app(
        Settings(environment="scripted", runs=tmp_path / "runs"), store, *clients, Provenance("scripted", None)
    )

    async def ask(base: str) -> float:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=base, timeout=60, limits=limits) as client:
            waiting = [asyncio.create_task(client.get(path)) for path in ["/v1/evaluations", "/health/ready"] * 40]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            try:
                assert (await client.get("/health/live")).status_code == 200
                return time.monotonic() - began
            finally:
                os.kill(number, signal.SIGCONT)
                await asyncio.gather(*waiting, return_exceptions=True)

    with served(app) as base:
        os.kill(number, signal.SIGSTOP)
        try:
            assert asyncio.run(ask(base)) < 2
        finally:
            os.kill(number, signal.SIGCONT)
    store.close()
