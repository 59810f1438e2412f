"""The env-runner over HTTP while results cannot be written: readiness, refused submissions. A real Redis."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.result_publisher import ResultPublisher
from services.env_runner.result_writer import ResultKeeper
from services.env_runner.settings import Settings
from tests.queued import on_disk, play, submit
from tests.serving import scripted_services
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts.health import RunnerHealth
from waymark.evaluation.run_folder import HEADER

pytestmark = pytest.mark.anyio


@pytest.fixture
async def services() -> AsyncIterator[tuple[ControllerClient, ExecutorClient]]:
    async with scripted_services() as clients:
        yield clients


@pytest.fixture
async def runner(
    store: JobStore, tmp_path: Path, services: tuple[ControllerClient, ExecutorClient]
) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    settings = Settings(environment="scripted", runs=tmp_path / "runs")
    app = create_app(settings, store, *services, Provenance("scripted", "abc"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://runner", transport=httpx.ASGITransport(app)) as client,
    ):
        yield app, client


async def until(client: httpx.AsyncClient, holds: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The answer of `/health/ready` once it says so."""
    with anyio.fail_after(20):
        while True:
            answer = await client.get("/health/ready")
            if holds(answer):
                return answer
            await anyio.sleep(0.05)


async def test_readiness_lists_tasks_and_evaluations_set_aside(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore, tmp_path: Path
) -> None:
    _, client = runner
    answer = await client.get("/health/ready")
    health = RunnerHealth.model_validate_json(answer.content)
    assert (answer.status_code, health.status, health.set_aside) == (200, "ok", ())
    assert {task.name: task.state for task in health.tasks} == {"writer": "running", "reconciler": "running"}
    (tmp_path / "runs").mkdir(exist_ok=True)
    (tmp_path / "runs" / "a").write_text("in the way")
    submit(store, "a")
    answer = await until(client, lambda answer: bool(answer.json()["set_aside"]))
    health = RunnerHealth.model_validate_json(answer.content)
    assert (answer.status_code, health.status) == (200, "degraded")
    [aside] = health.set_aside
    assert (aside.evaluation, "runs/a" in aside.problem) == ("a", True)
    (tmp_path / "runs" / "a").unlink()
    await until(client, lambda answer: answer.json()["status"] == "ok")


def _a_file(runs: Path) -> None:
    runs.write_text("")


def _a_loop(runs: Path) -> None:
    runs.symlink_to(runs)


@pytest.mark.parametrize("harm", [_a_file, _a_loop], ids=["file", "loop"])
async def test_a_folder_that_takes_nothing_refuses_submissions(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    _, client = runner
    harmed = False
    while not harmed:  # the publisher may make the folder again between the two
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        with suppress(FileExistsError, IsADirectoryError):
            harm(tmp_path / "runs")
            harmed = True
    answer = await client.post("/v1/evaluations", json={"tasks": ["4-2"]})
    assert answer.status_code == 507
    assert answer.json()["type"] == "urn:waymark:storage-unavailable"
    assert "move it away" in answer.json()["detail"] or "replace it" in answer.json()["detail"]
    assert store.ids() == []
    assert store.lease("worker", wait_seconds=0) is None


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that is mounted read-only."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root alone: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_read_only_folder_refuses_submissions_and_is_listed(
    store: JobStore, read_only: Path, services: tuple[ControllerClient, ExecutorClient]
) -> None:
    app = create_app(Settings(environment="scripted", runs=read_only), store, *services, Provenance("scripted", "abc"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://runner", transport=httpx.ASGITransport(app)) as client,
    ):
        answer = await client.post("/v1/evaluations", json={"tasks": ["4-2"]})
        assert answer.status_code == 507
        assert "Read-only file system" in answer.json()["detail"]
        assert "Mount its disk for writing" in answer.json()["detail"]
        assert store.ids() == []
        ready = await until(client, lambda answer: answer.json()["status"] == "degraded")
        assert (ready.status_code, "Read-only" in ready.json()["runs"]["problem"]) == (200, True)
        submit(store, "a")
        ready = await until(client, lambda answer: bool(answer.json()["set_aside"]))
        assert ready.json()["set_aside"][0]["evaluation"] == "a"


async def test_a_path_that_is_too_long_refuses_submissions(
    store: JobStore, tmp_path: Path, services: tuple[ControllerClient, ExecutorClient]
) -> None:
    settings = Settings(environment="scripted", runs=tmp_path / ("x" * 300))
    app = create_app(settings, store, *services, Provenance("scripted", "abc"))
    async with httpx.AsyncClient(base_url="http://runner", transport=httpx.ASGITransport(app)) as client:
        answer = await client.post("/v1/evaluations", json={"tasks": ["4-2"]})
    assert answer.status_code == 507
    assert "shorter path" in answer.json()["detail"]
    assert store.ids() == []


async def test_a_runs_folder_removed_after_start_is_made_again(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore, tmp_path: Path
) -> None:
    _, client = runner
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    answer = await client.post("/v1/evaluations", json={"tasks": ["4-2"]})
    assert answer.status_code == 201
    assert (tmp_path / "runs" / answer.json()["id"] / HEADER).exists()


async def test_a_refused_submission_leaves_no_folder(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore, tmp_path: Path
) -> None:
    _, client = runner
    headers = {"Idempotency-Key": "twice"}
    async with asyncio.TaskGroup() as group:
        both = [
            group.create_task(client.post("/v1/evaluations", json={"tasks": ["4-2"]}, headers=headers))
            for _ in range(2)
        ]
    assert {request.result().json()["id"] for request in both} == set(store.ids())
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(store.ids())


async def test_a_dead_writer_makes_the_service_unready(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore
) -> None:
    _, client = runner
    store._redis.set("waymark:evaluations", "no sorted set")
    answer = await until(client, lambda answer: "tasks.writer" in answer.text)
    assert answer.status_code == 503
    fields = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert "since 20" in fields["tasks.writer"]
    store._redis.delete("waymark:evaluations")
    await until(client, lambda answer: answer.status_code == 200)


async def test_unwritten_results_are_known_at_the_end(store: JobStore, tmp_path: Path) -> None:
    publisher = ResultPublisher(store, ResultKeeper(store, tmp_path), reconcile_seconds=30)
    submit(store, "a")
    play(store, 1)
    (tmp_path / "a").write_text("in the way")
    publisher.start()
    await publisher.stop()
    assert publisher.unwritten
    (tmp_path / "a").unlink()
    again = ResultPublisher(store, ResultKeeper(store, tmp_path), reconcile_seconds=30)
    again.start()
    await again.stop()
    assert not again.unwritten
    assert on_disk(tmp_path, "a") == 1
