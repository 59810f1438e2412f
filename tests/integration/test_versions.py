"""Workers and env-runners of different versions at one Redis, as processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from services.env_runner.queue import JobStore, record_version
from waymark.errors import VersionMismatch

_REFUSED = 2


def _worker(redis_url: str) -> subprocess.CompletedProcess[str]:
    """A worker that finds no services: it looks at the queue only where it is not refused before."""
    settings = {"WAYMARK_REDIS_URL": redis_url, "WAYMARK_ENVIRONMENT": "scripted", "WAYMARK_SLOTS": "1"}
    command = [sys.executable, "-P", "-m", "services.env_runner", "worker"]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("theirs", "age"), [(record_version.PROTOCOL + 1, "older"), (record_version.PROTOCOL - 1, "newer")]
)
def test_a_worker_of_another_version_is_refused_by_name(redis_url: str, store: JobStore, theirs: int, age: str) -> None:
    store._redis.set(record_version.KEY, f"{theirs} 9.8.7")
    done = _worker(redis_url)
    assert done.returncode == _REFUSED
    assert len(done.stderr.strip().splitlines()) == 1
    for part in (os.uname().nodename, age, "9.8.7", f"queue protocol {record_version.PROTOCOL}"):
        assert part in done.stderr


def test_an_older_env_runner_leaves_a_newer_redis_alone(store: JobStore) -> None:
    store._redis.set(record_version.KEY, f"{record_version.PROTOCOL + 1} 9.8.7")
    with pytest.raises(VersionMismatch, match=r"9\.8\.7"):
        store.announce()
    assert store._redis.get(record_version.KEY) == f"{record_version.PROTOCOL + 1} 9.8.7"


def test_an_older_redis_is_taken_over(store: JobStore) -> None:
    store._redis.set(record_version.KEY, f"{record_version.PROTOCOL - 1} 0.0.1")
    store.announce()
    assert store.lease("somebody", wait_seconds=0) is None


@pytest.mark.parametrize("text", [None, "", "no number", "²"])
def test_a_redis_without_announced_version_is_accepted(store: JobStore, text: str | None) -> None:
    if text is not None:
        store._redis.set(record_version.KEY, text)
    assert store.lease("somebody", wait_seconds=0) is None
