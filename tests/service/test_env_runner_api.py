"""The env-runner's HTTP interface in process: a real Redis, and both services as apps behind their clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.env_runner.app import create_app
from services.env_runner.jobs import JobStore
from services.env_runner.provenance import Provenance
from services.env_runner.results import ResultWriter
from services.env_runner.settings import Settings
from tests.samples import evaluation, result
from waymark.client import ControllerClient, EvaluationClient, ExecutorClient
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationRequest, EvaluationStatus, TurnRecord
from waymark.protocols import episodes
from waymark.runs import RunFolder
from waymark.serving.app import create_app as create_service
from waymark.serving.models import scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.stack import EmbeddedRedis

pytestmark = pytest.mark.anyio
TURN = TurnRecord(
    turn=1, subgoal="wait(1)", controller_called=True, action="wait1", proposed="wait1", logprob=-0.1, observation="…"
)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def store(redis_url: str) -> Iterator[JobStore]:
    store = JobStore(redis_url)
    yield store
    for status in store.statuses():
        store.cancel(status.id)
    store.close()


@pytest.fixture
async def app(store: JobStore, tmp_path: Path) -> AsyncIterator[FastAPI]:
    settings = ServiceSettings(engine="scripted")
    controller = create_service("controller", {"default": scripted_model("default", "controller")}, settings)
    acting = {"default": scripted_model("default", "executor"), "flat": scripted_model("flat", "flat")}
    executor = create_service("executor", acting, settings)
    app = create_app(
        Settings(environment="scripted", runs=tmp_path),
        store,
        ControllerClient("http://controller", transport=httpx.ASGITransport(controller)),
        ExecutorClient("http://executor", transport=httpx.ASGITransport(executor)),
        Provenance("scripted", "abc"),
    )
    async with AsyncExitStack() as running:
        for each in (controller, executor, app):
            await running.enter_async_context(each.router.lifespan_context(each))
        yield app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url="http://runner", transport=httpx.ASGITransport(app)) as client:
        yield client


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[EvaluationClient]:
    async with EvaluationClient("http://runner", transport=httpx.ASGITransport(app)) as client:
        yield client


def play(store: JobStore) -> EpisodeResult:
    """What a worker does, without playing."""
    lease = store.lease("worker", wait_seconds=0.01)
    assert lease is not None
    played = of(lease.spec)
    assert store.commit(lease, played)
    return played


def of(spec: EpisodeSpec) -> EpisodeResult:
    light = result(spec.id, evaluation=spec.evaluation, task=spec.task, variation=spec.variation)
    return light.model_copy(update={"trajectory": (TURN,)})


async def test_a_submission_records_what_will_answer(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "boil", "4-2")))
    assert (status.state, status.episodes, status.finished) == ("queued", 2, 0)
    assert status.versions is not None
    assert (status.versions.environment, status.versions.commit) == ("scripted", "abc")
    assert status.versions.controller is not None
    assert (status.versions.controller.role, status.versions.executor.role) == ("controller", "executor")
    assert await client.status(status.id) == status


async def test_a_flat_agent_needs_no_controller(http: httpx.AsyncClient) -> None:
    agent = {"subgoals": "none", "executor_model": "flat"}
    answer = await http.post("/v1/evaluations", json={"agent": agent, "tasks": ["1-1"]})
    assert answer.status_code == 201
    assert answer.json()["versions"]["controller"] is None
    assert answer.json()["versions"]["executor"]["role"] == "flat"


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"tasks": ["1-9"]}, "tasks", "1-9"),
        ({"tasks": ["1-1"], "variations": [30]}, "variations", "0 to 29"),
        ({"agent": {"subgoals": "oracle"}}, "agent.subgoals", "oracle"),
        ({"agent": {"controller_model": "large"}}, "agent.controller_model", "default"),
        ({"agent": {"executor_model": "large"}}, "agent.executor_model", "default"),
        ({"agent": {"subgoals": "none"}}, "agent.executor_model", "flat"),
        ({"agent": {"executor_model": "flat"}}, "agent.executor_model", "trained as flat"),
        ({"protocol": "slow"}, "protocol", "quick"),
        ({"colour": "red"}, "colour", "colour"),
    ],
)
async def test_a_wrong_submission_is_refused_at_its_field(
    http: httpx.AsyncClient, store: JobStore, body: dict[str, object], field: str, says: str
) -> None:
    before = store.statuses()
    answer = await http.post("/v1/evaluations", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert says in answer.json()["detail"]
    assert store.statuses() == before


async def test_results_are_served_light_and_episodes_whole(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = play(store)
    light = (await http.get(f"/v1/evaluations/{status.id}/results")).json()
    assert [(one["id"], one["trajectory"]) for one in light] == [(played.id, [])]
    assert await client.episode(status.id, played.id) == played
    exported = await http.get(f"/v1/evaluations/{status.id}/export", params={"format": "jsonl"})
    assert EpisodeResult.model_validate_json(exported.text) == played


async def test_events_tell_every_result_and_end_with_the_evaluation(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = [play(store).id, play(store).id]
    events = [event async for event in client.events(status.id)]
    assert [event.id for event in events if isinstance(event, EpisodeResult)] == played
    assert isinstance(events[-1], EvaluationStatus)
    assert (events[-1].state, events[-1].finished, events[-1].mean_score) == ("finished", 2, 50)


async def test_events_go_on_after_the_last_one_seen(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    first, second = play(store), play(store)
    path = f"/v1/evaluations/{status.id}/events"
    every = (await http.get(path)).text
    seen = next(line.removeprefix("id: ") for line in every.splitlines() if line.startswith("id: "))
    rest = (await http.get(path, headers={"Last-Event-ID": seen})).text
    assert first.id in every
    assert first.id not in rest
    assert second.id in rest


async def test_a_cancelled_evaluation_is_resumed_with_what_it_lacks(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    play(store)
    assert (await client.cancel(status.id)).state == "cancelled"
    assert store.lease("worker", wait_seconds=0.01) is None
    assert (await client.resume(status.id)).state == "running"
    play(store)
    assert (await client.status(status.id)).state == "finished"


async def test_every_committed_episode_is_written_to_disk_once(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = [play(store), play(store)]
    folder = RunFolder(tmp_path / status.id)
    with anyio.fail_after(10):
        while len(list(folder.results())) < len(played):  # noqa: ASYNC110 - the file is what a user waits for
            await anyio.sleep(0.05)
    assert list(folder.results()) == played
    assert folder.evaluation().request == status.request


async def test_a_restarted_app_writes_what_was_committed_meanwhile(store: JobStore, tmp_path: Path) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    specs = episodes("restarted", request)
    store.submit(evaluation("restarted", request, episodes=len(specs)), specs)
    played = play(store)
    for _ in range(2):
        writer = ResultWriter(store, tmp_path)
        writer.follow("restarted")
        writer.catch_up()
    assert list(RunFolder(tmp_path / "restarted").results()) == [played]


async def test_unknown_ids_are_not_found(http: httpx.AsyncClient) -> None:
    for path in ("", "/results", "/events", "/export", "/episodes/x"):
        answer = await http.get(f"/v1/evaluations/nobody{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:waymark:not-found")


async def test_it_is_ready_only_while_redis_answers(http: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await http.get("/health/ready")).status_code == 200
    cut_off = create_app(
        Settings(runs=tmp_path),
        JobStore("redis://127.0.0.1:1"),
        ControllerClient("http://controller"),
        ExecutorClient("http://executor"),
        Provenance("scripted", None),
    )
    async with httpx.AsyncClient(base_url="http://runner", transport=httpx.ASGITransport(cut_off)) as other:
        assert (await other.get("/health/live")).status_code == 200
        answer = await other.get("/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:waymark:job-store-unavailable")


async def test_metrics_count_episodes_by_state(
    client: EvaluationClient, http: httpx.AsyncClient, store: JobStore
) -> None:
    def states(text: str) -> dict[str, float]:
        lines = [line for line in text.splitlines() if line.startswith("waymark_episodes{")]
        return {line.split('"')[1]: float(line.split()[1]) for line in lines}

    before = states((await http.get("/metrics")).text)
    await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    play(store)
    after = states((await http.get("/metrics")).text)
    assert {state: after[state] - before[state] for state in after} == {
        "waiting": 1,
        "running": 0,
        "finished": 1,
        "errored": 0,
    }
