"""One evaluation that cannot be written or read is set aside; all others go on. A real Redis, run folders on disk."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.env_runner.app import create_app
from services.env_runner.jobs import JobStore
from services.env_runner.provenance import Provenance
from services.env_runner.publisher import ResultPublisher
from services.env_runner.results import ResultKeeper
from services.env_runner.settings import Settings
from tests.samples import evaluation, result
from waymark.client import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeResult, EvaluationRequest
from waymark.health import RunnerHealth
from waymark.protocols import episodes
from waymark.runs import EPISODES, HEADER, RunFolder
from waymark.serving.app import create_app as create_service
from waymark.serving.models import scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.stack import EmbeddedRedis

pytestmark = pytest.mark.anyio
Break = Callable[[JobStore, Path], object]
TASKS = ("1-1", "4-1", "4-2")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def store(redis_url: str) -> Iterator[JobStore]:
    store = JobStore(redis_url)
    store._redis.flushall()
    yield store
    store.close()


class Clock:
    """A monotonic clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def submit(store: JobStore, name: str) -> None:
    request = EvaluationRequest(tasks=TASKS)
    specs = episodes(name, request)
    store.submit(evaluation(name, request, episodes=len(specs)), specs)


def play(store: JobStore, count: int) -> list[EpisodeResult]:
    """Play so many episodes of whichever evaluations take their turns."""
    played = []
    for _ in range(count):
        lease = store.lease("worker", wait_seconds=0.01)
        assert lease is not None
        spec = lease.spec
        one = result(spec.id, evaluation=spec.evaluation, task=spec.task, variation=spec.variation)
        assert store.commit(lease, one)
        played.append(one)
    return played


def on_disk(runs: Path, name: str) -> int:
    return len(list(RunFolder(runs / name).results()))


def key(name: str) -> str:
    return f"waymark:evaluation:{name}"


def overwrite(path: Path, text: str) -> None:
    path.write_text(text)


def remove(folder: Path) -> bool:
    shutil.rmtree(folder)
    return True


def a_folder_instead(path: Path) -> bool:
    path.unlink()
    path.mkdir()
    return True


def a_file_instead(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def a_loop_instead(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path)


def a_pipe_instead(path: Path) -> bool:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return True


def another_evaluation(path: Path) -> None:
    RunFolder(path.parent / "other").begin(evaluation("other"))
    shutil.copy(path.parent / "other" / HEADER, path / HEADER)


def damage_result(store: JobStore, name: str) -> int:
    """One result of A that no version of waymark has written, in all of its records."""
    first = store.entries({name: "0"})[name]
    assert isinstance(first, list)
    episode = first[0].result().id
    store._redis.xadd(f"{key(name)}:events", {"result": "{}"})
    store._redis.hset(f"{key(name)}:results", episode, '{"id": 3}')
    return int(store._redis.hset(f"{key(name)}:trajectories", episode, "no zlib"))


BREAKS: dict[str, Break] = {
    "header_is_no_json": lambda _, runs: overwrite(runs / "a" / HEADER, "{"),
    "header_of_another": lambda _, runs: another_evaluation(runs / "a"),
    "line_is_no_json": lambda _, runs: overwrite(runs / "a" / EPISODES, "{}\n"),
    "folder_is_a_file": lambda _, runs: a_file_instead(runs / "a"),
    "folder_is_a_loop": lambda _, runs: a_loop_instead(runs / "a"),
    "episodes_are_a_pipe": lambda _, runs: a_pipe_instead(runs / "a" / EPISODES),
    "episodes_are_a_folder": lambda _, runs: a_folder_instead(runs / "a" / EPISODES),
    "draft_is_a_pipe_and_header_gone": lambda _, runs: (
        a_pipe_instead((runs / "a" / HEADER).with_suffix(".tmp")),
        a_folder_instead(runs / "a" / HEADER),
    ),
    "header_is_a_pipe": lambda _, runs: a_pipe_instead(runs / "a" / HEADER),
    "all_keys_deleted": lambda store, _: store._redis.delete(*store._redis.keys(f"{key('a')}*")),
    "hash_deleted": lambda store, _: store._redis.delete(key("a")),
    "results_deleted": lambda store, _: store._redis.delete(f"{key('a')}:results", f"{key('a')}:events"),
    "turns_deleted": lambda store, runs: (store._redis.delete(f"{key('a')}:trajectories"), remove(runs / "a")),
    "hash_is_a_text": lambda store, _: (store._redis.delete(key("a")), store._redis.set(key("a"), "x")),
    "events_are_a_text": lambda store, _: store._redis.set(f"{key('a')}:events", "x"),
    "results_are_a_text": lambda store, _: (
        store._redis.set(f"{key('a')}:results", "x"),
        store._redis.delete(f"{key('a')}:events"),
    ),
    "hash_of_another": lambda store, _: store._redis.copy(key("b"), key("a"), replace=True),
    "evaluation_is_no_json": lambda store, _: store._redis.hset(key("a"), "evaluation", "{"),
    "evaluation_is_no_text": lambda store, _: store._bytes.hset(key("a"), "evaluation", b"\xff\xfe"),
    "result_fails_validation": lambda store, runs: (damage_result(store, "a"), remove(runs / "a")),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
async def test_others_are_written_while_one_is_set_aside(
    store: JobStore, tmp_path: Path, broken: Break, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    submit(store, "b")
    play(store, 2)
    assert keeper.catch_up() == 2
    broken(store, tmp_path)
    if restarted:
        keeper = ResultKeeper(store, tmp_path, clock=clock)
    while lease := store.lease("worker", wait_seconds=0):
        if lease.spec.evaluation == "b":
            spec = lease.spec
            store.commit(lease, result(spec.id, evaluation="b", task=spec.task, variation=spec.variation))
    for _ in range(20):
        clock.now += 10
        keeper.catch_up(beat=lambda: None)
    assert on_disk(tmp_path, "b") == len(TASKS)
    [aside] = keeper.set_aside.report()
    assert aside.evaluation == "a"
    assert aside.problem
    assert aside.remedy
    assert aside.since.startswith("20")
    assert sum("set aside" in record.message for record in caplog.records) <= 2  # its cause may change once
    assert [one.id for one in store.statuses() if one.id == "b"] == ["b"]
    assert keeper.unwritten


@pytest.mark.parametrize("damaged", ["specs", "manifest"])
@pytest.mark.parametrize("kind", ["deleted", "text"])
async def test_what_cannot_be_played_is_reported_and_others_play(store: JobStore, damaged: str, kind: str) -> None:
    submit(store, "a")
    submit(store, "b")
    store._redis.delete(f"{key('a')}:{damaged}", f"{key('a')}:queue")
    if kind == "text":
        store._redis.set(f"{key('a')}:{damaged}", "x")
    reported: dict[str, Exception] = {}
    store.reconcile(reported.__setitem__)
    assert list(reported) == ["a"]
    played = play(store, len(TASKS))
    assert {one.evaluation for one in played} == {"b"}
    assert store.status("b").state == "finished"


async def test_a_spec_that_cannot_be_read_stops_nobody(store: JobStore) -> None:
    submit(store, "a")
    submit(store, "b")
    first = store.specs("a")[0].id
    store._redis.hset(f"{key('a')}:specs", first, "{}")
    while lease := store.lease("worker", wait_seconds=0.3):
        spec = lease.spec
        store.commit(lease, result(spec.id, evaluation=spec.evaluation, task=spec.task, variation=spec.variation))
    reported: dict[str, Exception] = {}
    store.reconcile(reported.__setitem__)
    assert list(reported) == ["a"]
    assert store.status("a").finished == len(TASKS) - 1
    assert store.status("b").state == "finished"


async def test_a_result_is_stored_whole_or_not_at_all(store: JobStore) -> None:
    submit(store, "a")
    lease = store.lease("worker", wait_seconds=0)
    assert lease is not None
    store._redis.set(f"{key('a')}:events", "x")
    spec = lease.spec
    with pytest.raises(Exception, match="wrong type"):
        store.commit(lease, result(spec.id, evaluation="a", task=spec.task, variation=spec.variation))
    assert store.status("a").finished == 0
    store._redis.delete(f"{key('a')}:events")
    assert store.commit(lease, result(spec.id, evaluation="a", task=spec.task, variation=spec.variation))


@pytest.mark.parametrize(
    "harm",
    [
        shutil.rmtree,
        lambda folder: (folder / EPISODES).unlink(),
        lambda folder: (folder / HEADER).unlink(),
        lambda folder: (folder / EPISODES).write_text(""),
        lambda folder: os.truncate(folder / EPISODES, 100),
    ],
    ids=["folder", "episodes", "header", "emptied", "cut"],
)
async def test_a_folder_that_is_deleted_is_made_anew(
    store: JobStore, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    keeper = ResultKeeper(store, tmp_path)
    submit(store, "a")
    first = play(store, 2)
    keeper.catch_up()
    harm(tmp_path / "a")
    rest = play(store, 1)
    keeper.catch_up()
    assert sorted(one.id for one in RunFolder(tmp_path / "a").results()) == sorted(one.id for one in first + rest)
    assert RunFolder(tmp_path / "a").evaluation() == store.evaluation("a")
    assert not keeper.set_aside.report()


async def test_a_finished_folder_that_is_deleted_comes_back_at_the_end(store: JobStore, tmp_path: Path) -> None:
    keeper = ResultKeeper(store, tmp_path)
    submit(store, "a")
    played = play(store, len(TASKS))
    keeper.catch_up()
    shutil.rmtree(tmp_path / "a")
    assert keeper.catch_up() == 0
    assert keeper.catch_up(final=True) == len(TASKS)
    assert list(RunFolder(tmp_path / "a").results()) == played


async def test_an_evaluation_is_completed_when_its_folder_comes_back(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 1)
    (tmp_path / "a").write_text("in the way")
    keeper.catch_up()
    assert keeper.set_aside.report()
    (tmp_path / "a").unlink()
    keeper.catch_up()
    assert keeper.set_aside.report(), "it is tried again after a pause"
    clock.now += 1
    assert keeper.catch_up() == 1
    assert not keeper.set_aside.report()


async def test_a_torn_line_is_cut_when_there_is_room_again(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 1)
    keeper.catch_up()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "a" / EPISODES).stat().st_size + 10, before[1]))
    try:
        play(store, 2)
        keeper.catch_up()
        [aside] = keeper.set_aside.report()
        assert "ulimit -f" in aside.remedy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert on_disk(tmp_path, "a") == 1
    clock.now += 60
    keeper.catch_up()
    assert on_disk(tmp_path, "a") == 3


async def test_lost_events_are_written_from_the_results(store: JobStore, tmp_path: Path) -> None:
    clock = Clock()
    keeper = ResultKeeper(store, tmp_path, clock=clock)
    submit(store, "a")
    play(store, 2)
    store._redis.delete(f"{key('a')}:events")
    keeper.catch_up()
    clock.now += 60
    keeper.catch_up()
    assert on_disk(tmp_path, "a") == 2


# --- over HTTP -----------------------------------------------------------------------------------------------


@pytest.fixture
async def services() -> AsyncIterator[tuple[ControllerClient, ExecutorClient]]:
    settings = ServiceSettings(engine="scripted")
    controller = create_service("controller", {"default": scripted_model("default", "controller")}, settings)
    executor = create_service("executor", {"default": scripted_model("default", "executor")}, settings)
    async with AsyncExitStack() as running:
        for each in (controller, executor):
            await running.enter_async_context(each.router.lifespan_context(each))
        yield (
            ControllerClient("http://controller", transport=httpx.ASGITransport(controller)),
            ExecutorClient("http://executor", transport=httpx.ASGITransport(executor)),
        )


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
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    harm(tmp_path / "runs")
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
    assert {one.result().json()["id"] for one in both} == set(store.ids())
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(store.ids())


async def test_a_dead_writer_makes_the_service_unready(
    runner: tuple[FastAPI, httpx.AsyncClient], store: JobStore
) -> None:
    _, client = runner
    store._redis.set("waymark:evaluations", "no sorted set")
    answer = await until(client, lambda answer: "tasks.writer" in answer.text)
    assert answer.status_code == 503
    fields = {one["field"]: one["message"] for one in answer.json()["errors"]}
    assert "since 20" in fields["tasks.writer"]
    store._redis.delete("waymark:evaluations")
    await until(client, lambda answer: answer.status_code == 200)


async def test_what_is_unwritten_at_the_end_is_known(store: JobStore, tmp_path: Path) -> None:
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
