"""What the command line says while results cannot be written, over answers of a readiness route."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.samples import evaluation
from waymark.cli import health_watch
from waymark.cli.health_watch import HealthWatch
from waymark.contracts import EvaluationStatus
from waymark.errors import JobStoreFull, StorageUnavailable

pytestmark = pytest.mark.anyio
FULL = {"since": "2026-01-01T00:00:00+00:00", "problem": "runs/a cannot be written: full.", "remedy": "Free space."}


def status(name: str, *, running: int = 1, state: str = "running") -> EvaluationStatus:
    sample = evaluation(name)
    fields = {"id": name, "request": sample.request, "created": sample.created, "versions": sample.versions}
    counts = {"episodes": 30, "finished": 0, "errored": 0, "running": running, "mean_score": None}
    return EvaluationStatus.model_validate({**fields, **counts, "state": state, "agent_name": "hierarchical"})


class Runner:
    """Answers `/health/ready` with what it holds; a clock that each look sets forward."""

    def __init__(self, ours: set[str]) -> None:
        self.status = 200
        self.body: dict[str, Any] = {"status": "ok"}
        self.lines: list[str] = []
        self.now = 0.0
        self.statuses = [status(name) for name in ours]
        transport = httpx.MockTransport(lambda _: httpx.Response(self.status, content=json.dumps(self.body)))
        self.watch = HealthWatch(
            "http://runner", lambda: self.statuses, self.lines.append, transport=transport, clock=lambda: self.now
        )

    async def look(self) -> Exception | None:
        self.now += 2 * health_watch.LOOK_SECONDS
        return await self.watch.look()

    def set_aside(self, *names: str) -> None:
        aside = [{"evaluation": name, "retry_seconds": 1, **FULL} for name in names]
        self.body = {"status": "degraded", "set_aside": aside}


async def test_nothing_is_reported_while_all_is_well() -> None:
    runner = Runner({"a"})
    assert await runner.look() is None
    assert runner.lines == []


async def test_an_evaluation_set_aside_is_reported_once() -> None:
    runner = Runner({"a", "b"})
    runner.set_aside("a", "of somebody else")
    for _ in range(5):
        assert await runner.look() is None
    runner.body = {"status": "ok"}
    await runner.look()
    assert len(runner.lines) == 2
    assert "Results of a wait" in runner.lines[0]
    assert "Free space." in runner.lines[0]
    assert "written again" in runner.lines[1]


async def test_waiting_fails_if_every_evaluation_stays_set_aside() -> None:
    runner = Runner({"a"})
    runner.set_aside("a")
    assert await runner.look() is None
    assert await runner.look() is None
    error = await runner.look()
    assert isinstance(error, StorageUnavailable)
    assert "Free space." in str(error)


async def test_results_that_are_not_written_at_the_end_are_an_error() -> None:
    runner = Runner({"a", "b"})
    runner.set_aside("of somebody else")
    assert await runner.watch.unwritten() is None
    runner.set_aside("b")
    error = await runner.watch.unwritten()
    assert isinstance(error, StorageUnavailable)
    assert "Free space." in str(error)
    runner.body = {"status": "ok"}
    assert await runner.watch.unwritten() is None


async def test_a_moment_without_a_folder_is_no_error() -> None:
    runner = Runner({"a"})
    for _ in range(4):
        runner.set_aside("a")
        assert await runner.look() is None
        runner.body = {"status": "ok"}
        assert await runner.look() is None


async def test_a_runs_folder_that_takes_nothing_is_an_error() -> None:
    runner = Runner({"a"})
    runner.body = {"status": "degraded", "runs": FULL}
    errors = [await runner.look() for _ in range(4)]
    assert isinstance(errors[-1], StorageUnavailable)
    assert len(runner.lines) == 1


async def test_a_full_redis_is_an_error() -> None:
    runner = Runner({"a"})
    runner.status = 503
    runner.body = {
        "type": "urn:waymark:job-store-full",
        "title": "Job store full",
        "status": 503,
        "detail": "Redis is full.",
        "request_id": "1",
        "errors": [],
    }
    errors = [await runner.look() for _ in range(4)]
    assert isinstance(errors[-1], JobStoreFull)
    assert runner.lines == ["The env-runner is not ready: Redis is full."]


async def test_an_older_env_runner_is_no_error() -> None:
    runner = Runner({"a"})
    runner.body = {"up": True}
    assert await runner.look() is None
    assert runner.lines == []


async def test_episodes_without_workers_are_reported_once() -> None:
    runner = Runner({"a"})
    runner.statuses = [status("a", running=0, state="queued")]
    for _ in range(40):
        await runner.look()
    assert len(runner.lines) == 1
    assert "30 episodes wait and no worker plays them" in runner.lines[0]


@pytest.mark.parametrize("other", [{"running": 1}, {"running": 0, "state": "finished"}])
async def test_nothing_is_reported_while_an_episode_is_played(other: dict[str, Any]) -> None:
    runner = Runner({"a"})
    waiting_one = [status("a", running=0, state="queued")] if other["running"] else []
    runner.statuses = [*waiting_one, status("b", **other)]
    for _ in range(40):
        await runner.look()
    assert runner.lines == []
