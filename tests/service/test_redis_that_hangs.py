"""Probes answer within seconds while Redis hangs, and a short outage leaves no task that looks stalled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.env_runner.redis_probe import RedisProbe
from services.env_runner.result_publisher import ResultPublisher
from services.env_runner.result_writer import ResultKeeper
from waymark.errors import JobStoreUnavailable, WaymarkError

pytestmark = pytest.mark.anyio


async def test_a_hanging_redis_is_reported_in_time_and_asked_once() -> None:
    answers, asked = threading.Event(), 0

    def ping() -> None:
        nonlocal asked
        asked += 1
        answers.wait(10)

    probe = RedisProbe(ping, seconds=0.1)
    began = time.monotonic()
    outcomes = await asyncio.gather(*(probe.check() for _ in range(100)), return_exceptions=True)
    assert all(isinstance(answer, JobStoreUnavailable) for answer in outcomes)
    with pytest.raises(JobStoreUnavailable, match=r"within 0\.1 s"):
        await asyncio.to_thread(probe.check_in_thread)
    assert time.monotonic() - began < 5
    assert asked == 1
    answers.set()
    await asyncio.sleep(0.05)
    await probe.check()
    probe.check_in_thread()


async def test_an_unreachable_redis_is_reported_with_its_own_error() -> None:
    def ping() -> None:
        raise JobStoreUnavailable("Connection refused.")

    probe = RedisProbe(ping)
    with pytest.raises(JobStoreUnavailable, match="refused"):
        await probe.check()
    with pytest.raises(JobStoreUnavailable, match="refused"):
        probe.check_in_thread()


class Store:
    """A job store without evaluations whose `reconcile` fails as often as it is told."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.reconciled: list[float] = []

    def ids(self) -> list[str]:
        return []

    def entries(self, cursors: dict[str, str]) -> dict[str, list[Any]]:
        return {}

    def reconcile(self, _: Callable[[str, WaymarkError], None]) -> int:
        self.reconciled.append(time.monotonic())
        if len(self.reconciled) <= self.failures:
            raise JobStoreUnavailable("Redis is away.")
        return 0


def publisher_over(store: Any, runs: Path, **times: float) -> ResultPublisher:
    return ResultPublisher(store, ResultKeeper(store, runs), **times)


async def test_lost_episodes_are_looked_for_soon_after_an_outage(tmp_path: Path) -> None:
    store = Store(failures=2)
    publisher = publisher_over(store, tmp_path, reconcile_seconds=3_600, retry_seconds=0.05)
    publisher.start()
    await asyncio.sleep(1)
    await publisher.stop()
    assert len(store.reconciled) == 3


async def test_a_task_that_waits_long_is_not_stalled(tmp_path: Path) -> None:
    publisher = publisher_over(Store(0), tmp_path, reconcile_seconds=3_600, beat_seconds=0.05)
    publisher.tasks._stall_seconds = 0.5
    publisher.start()
    await asyncio.sleep(1)
    states = {task.name: task.state for task in publisher.health().tasks}
    await publisher.stop()
    assert states["reconciler"] == "running"
