"""The env-runner's HTTP interface in process: a real Redis, and both services as apps behind their clients."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.results import ResultKeeper
from services.env_runner.settings import Settings
from tests.samples import VERSIONS, evaluation, result
from waymark.cli.local_stack import EmbeddedRedis
from waymark.clients.services import ControllerClient, EvaluationClient, ExecutorClient
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest, EvaluationStatus, MadeBy, TurnRecord
from waymark.errors import JobStoreUnavailable, ServiceError, ServiceRejected
from waymark.evaluation.export import MEDIA_TYPES, encode
from waymark.evaluation.protocols import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder
from waymark.evaluation.scores import beside_published, summarise
from waymark.serving.app import create_app as create_service
from waymark.serving.middleware import problems
from waymark.serving.models import scripted_model
from waymark.serving.settings import ServiceSettings

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
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as client:
        yield client


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[EvaluationClient]:
    async with EvaluationClient("http://localhost", transport=httpx.ASGITransport(app)) as client:
        yield client


def play(store: JobStore, *, error: EpisodeError | None = None) -> EpisodeResult:
    """What a worker does, without playing."""
    lease = store.lease("worker", wait_seconds=0.01)
    assert lease is not None
    spec = lease.spec
    score = 0 if error else 50
    light = result(
        spec.id, evaluation=spec.evaluation, task=spec.task, variation=spec.variation, score=score, error=error
    )
    played = light.model_copy(update={"agent": spec.agent, "versions": VERSIONS, "trajectory": (TURN,)})
    assert store.commit(lease, played)
    return played


async def on_disk(folder: Path, results: list[EpisodeResult]) -> None:
    """Return once exactly these are in the run folder, in this order."""
    with anyio.fail_after(10):
        while list(RunFolder(folder).results()) != results:  # noqa: ASYNC110 - the file is what a user waits for
            await anyio.sleep(0.05)


async def test_a_submission_records_what_will_answer(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "boil", "4-2")))
    assert (status.state, status.episodes, status.finished) == ("queued", 2, 0)
    assert status.versions is not None
    assert (status.versions.environment, status.versions.commit) == ("scripted", "abc")
    assert status.versions.controller is not None
    assert (status.versions.controller.role, status.versions.executor.role) == ("controller", "executor")
    assert await client.status(status.id) == status


async def test_what_is_submitted_again_under_its_key_is_played_once(http: httpx.AsyncClient, store: JobStore) -> None:
    key = {"Idempotency-Key": secrets.token_hex()}
    first = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]}, headers=key)
    play(store)
    again = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"], "seed": 0}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["finished"]) == (first.json()["id"], 1)
    play(store)
    assert store.lease("worker", wait_seconds=0) is None


async def test_a_key_is_refused_with_another_evaluation(http: httpx.AsyncClient, store: JobStore) -> None:
    key = {"Idempotency-Key": secrets.token_hex()}
    await http.post("/v1/evaluations", json={"tasks": ["1-1"]}, headers=key)
    before = store.ids()
    answer = await http.post("/v1/evaluations", json={"tasks": ["4-2"]}, headers=key)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert "a key of its own" in answer.json()["detail"]
    assert store.ids() == before


async def test_pages_of_evaluations_begin_with_the_newest_and_stay_apart_while_more_come(
    client: EvaluationClient,
) -> None:
    submitted = [(await client.submit(EvaluationRequest(tasks=("1-1",)))).id for _ in range(3)]
    page = await client.evaluations(limit=2)
    assert [one.id for one in page.items] == submitted[:0:-1]
    newer = await client.submit(EvaluationRequest(tasks=("1-1",)))
    rest = await client.evaluations(limit=2, cursor=page.next_cursor)
    assert rest.items[0].id == submitted[0]
    assert (await client.evaluations(limit=1)).items == (newer,)
    while rest.next_cursor is not None:
        rest = await client.evaluations(limit=2, cursor=rest.next_cursor)
    assert rest.items


async def test_pages_of_episodes_follow_the_order_of_play(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-1", "4-2"), variations=(0,)))
    played = play(store)
    page = await client.episodes(status.id, limit=2)
    assert [(one.task, one.result) for one in page.items] == [("1-1", played.without_trajectory()), ("4-1", None)]
    rest = await client.episodes(status.id, limit=2, cursor=page.next_cursor)
    assert [(one.task, one.result) for one in rest.items] == [("4-2", None)]
    assert rest.next_cursor is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"),
        ("?cursor=nobody", "cursor"),
        ("/a:results", "evaluation_id"),
        ("/a/episodes?cursor=-1", "cursor"),
        ("/a/export?format=xlsx", "format"),
    ],
)
async def test_a_wrong_question_is_refused_at_its_field(http: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await http.get(f"/v1/evaluations{path}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


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
        ({"agent": {"subgoals": "llm_plan"}}, "agent.subgoals", "WAYMARK_PLANNER_URL"),
        ({"agent": {"subgoals": "semi_random", "controller_model": "large"}}, "agent.controller_model", "default"),
        ({"agent": {"subgoals": "random", "executor_model": "flat"}}, "agent.executor_model", "trained as flat"),
        ({"agent": {"controller_model": "large"}}, "agent.controller_model", "default"),
        ({"agent": {"executor_model": "large"}}, "agent.executor_model", "default"),
        ({"agent": {"subgoals": "none"}}, "agent.executor_model", "flat"),
        ({"agent": {"executor_model": "flat"}}, "agent.executor_model", "trained as flat"),
        ({"protocol": "slow"}, "protocol", "quick"),
        ({"colour": "red"}, "colour", "colour"),
        ({"simplifications": "eazy"}, "simplifications", "teleportAction"),
        ({"tasks": ["4-2"], "simplifications": "easy,eazy"}, "simplifications", "eazy"),
        ({"tasks": ["3-3"], "simplifications": "noElectricalAction"}, "simplifications", "3-3"),
        ({"protocol": "full", "simplifications": "x" * 400_000}, "simplifications", "200"),
        ({"tasks": ["4-2"] * 101}, "tasks", "100"),
        ({"tasks": ["x" * 101]}, "tasks.0", "100"),
        ({"tasks": [0] * 1_000}, "tasks.0", "string"),
        ({"variations": [[]] * 1_000}, "variations.0", "integer"),
        ({"variations": [0] * 2_001}, "variations", "2000"),
        ({"variations": [-1]}, "variations.0", "greater than or equal to 0"),
        ({"agent": {"executor_model": "x" * 101}}, "agent.executor_model", "100"),
        ({"agent": {"controller_model": ""}}, "agent.controller_model", "1"),
        ({"limits": {"moves": 1, "turns": 1, "patience": 10**300}}, "limits.patience", "1000000"),
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
    assert len(answer.content) < 2_000
    assert store.statuses() == before


@pytest.mark.parametrize("simplifications", ["", "easy,easy", "openDoors, teleportAction", "EASY"])
async def test_known_simplifications_are_taken_as_they_are_written(
    client: EvaluationClient, store: JobStore, simplifications: str
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("4-2",), simplifications=simplifications))
    assert status.request.simplifications == simplifications
    assert store.specs(status.id)[0].simplifications == simplifications


async def test_a_summary_refuses_results_of_several_checkpoints(http: httpx.AsyncClient, store: JobStore) -> None:
    """As a version would leave them that did not check what it committed."""
    answer = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]})
    name = answer.json()["id"]
    played = [play(store), play(store)]
    assert (await http.get(f"/v1/evaluations/{name}/summary")).status_code == 200
    foreign = played[1].without_trajectory().model_copy(update={"checkpoints": MadeBy(executor="b" * 12)})
    store._redis.hset(f"waymark:evaluation:{name}:results", foreign.id, foreign.model_dump_json())
    refused = await http.get(f"/v1/evaluations/{name}/summary")
    assert refused.status_code == 422
    assert "1 by bbbbbbbbbbbb" in refused.json()["detail"]


async def test_a_folder_of_several_checkpoints_is_not_resumed(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    await on_disk(tmp_path / status.id, [play(store)])
    foreign = play(store)
    with anyio.fail_after(10):
        while len(list(RunFolder(tmp_path / status.id).results())) < 2:  # noqa: ASYNC110 - the file is what counts
            await anyio.sleep(0.05)
    other = VERSIONS.model_copy(update={"executor": VERSIONS.executor.model_copy(update={"sha256": "b" * 64})})
    RunFolder(tmp_path / status.id).append(foreign.model_copy(update={"versions": other}))
    store._redis.flushall()
    with pytest.raises(ServiceRejected, match="not all played by its executor"):
        await client.resume(status.id)
    assert store.ids() == []


async def test_results_are_served_light_and_episodes_whole(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = play(store)
    light = (await http.get(f"/v1/evaluations/{status.id}/results")).json()
    assert [(one["id"], one["trajectory"]) for one in light] == [(played.id, [])]
    assert await client.episode(status.id, played.id) == played


async def test_an_export_is_a_file_in_the_form_that_is_asked_for(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-1", "4-2"), variations=(0,)))
    played = [play(store), play(store)]
    for form, kind in MEDIA_TYPES.items():
        answer = await http.get(f"/v1/evaluations/{status.id}/export", params={"format": form})
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"] == f'attachment; filename="{status.id}.{form}"'
        assert answer.content == b"".join(encode(played, form))


async def test_a_file_that_breaks_off_is_never_taken_for_whole() -> None:
    app = FastAPI()
    problems.install(app)

    def pieces() -> Iterator[bytes]:
        yield b"half of it"
        raise JobStoreUnavailable("Redis has gone.")

    @app.get("/file")
    def file() -> StreamingResponse:
        return StreamingResponse(pieces())

    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as http:
        with pytest.raises(RuntimeError, match="response already started"):  # a server then cuts the connection
            await http.get("/file")


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


async def test_only_errored_episodes_are_played_again_and_take_the_place_of_their_errors(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    failed, good = play(store, error=EpisodeError(kind="EnvironmentFault", message="It hung.")), play(store)
    await on_disk(tmp_path / status.id, [failed, good])
    assert (await client.resume(status.id, errored=True)).finished == 1
    better = play(store)
    assert better.id == failed.id
    await on_disk(tmp_path / status.id, [good, better])
    after = await client.status(status.id)
    assert (after.state, after.finished, after.errored) == ("finished", 2, 0)
    assert [one.id async for one in client.events(status.id) if isinstance(one, EpisodeResult)] == [good.id, better.id]


async def test_an_evaluation_that_redis_has_lost_comes_back_from_its_folder(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2", "4-1")))
    failed, good = play(store, error=EpisodeError(kind="EnvironmentFault", message="It hung.")), play(store)
    await on_disk(tmp_path / status.id, [failed, good])
    store._redis.flushall()
    on_disk_only = await client.status(status.id)
    assert (on_disk_only.state, on_disk_only.finished, on_disk_only.errored) == ("cancelled", 2, 1)
    back = await client.resume(status.id)
    assert back.model_copy(update={"state": "queued", "finished": 0, "errored": 0, "mean_score": None}) == status
    assert (back.state, back.finished, back.errored, back.mean_score) == ("running", 2, 1, 25)
    last = play(store)
    assert store.lease("worker", wait_seconds=0) is None
    assert {one.id async for one in client.events(status.id) if isinstance(one, EpisodeResult)} == {
        failed.id,
        good.id,
        last.id,
    }
    assert await client.episode(status.id, good.id) == good
    await on_disk(tmp_path / status.id, [failed, good, last])


async def test_a_lost_evaluation_does_not_go_on_with_other_checkpoints(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1",)))
    store._redis.flushall()
    folder = RunFolder(tmp_path / status.id)
    begun = folder.evaluation().model_copy(update={"versions": VERSIONS.model_copy(update={"controller": None})})
    (folder.path / HEADER).write_text(begun.model_dump_json())
    with pytest.raises(ServiceRejected, match="began with the controller none; here it would go on with") as refused:
        await client.resume(status.id)
    assert refused.value.field == "evaluation_id"


@pytest.mark.parametrize("damage", ["no date", "FIFO", "another task", "another evaluation", "not a number"])
async def test_an_edited_folder_is_refused_and_no_other_suffers(
    client: EvaluationClient, store: JobStore, tmp_path: Path, damage: str
) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    status = await client.submit(request)
    good = play(store)
    await on_disk(tmp_path / status.id, [good])
    store._redis.flushall()
    folder = RunFolder(tmp_path / status.id)
    lines = folder.path / EPISODES
    match damage:
        case "no date":
            edited = folder.evaluation().model_copy(update={"created": "today"})
            (folder.path / HEADER).write_text(edited.model_dump_json())
        case "FIFO":
            lines.unlink()
            os.mkfifo(lines)
        case "another task":
            folder.append(good.model_copy(update={"id": "2-1_0", "task": "2-1", "variation": 0}))
        case "another evaluation":
            folder.append(good.model_copy(update={"id": "4-2_0", "task": "4-2", "evaluation": "other"}))
        case "not a number":
            lines.write_text(lines.read_text().replace('"seconds":0.1', '"seconds":NaN'))
    with anyio.fail_after(10):
        for _ in range(2):
            # What is no plain file counts as storage that cannot be used (507); all else as a wrong folder (422).
            with pytest.raises(ServiceError if damage == "FIFO" else ServiceRejected, match=status.id):
                await client.resume(status.id)
        assert (await client.evaluations()).items == ()
        other = await client.submit(request)
        await on_disk(tmp_path / other.id, [play(store), play(store)])


async def test_a_fifo_in_a_folder_stops_no_other_results(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    specs = episodes("edited", request)
    store.submit(evaluation("edited", request, episodes=len(specs)), specs)
    (tmp_path / "edited").mkdir()
    os.mkfifo(tmp_path / "edited" / EPISODES)
    keeper = ResultKeeper(store, tmp_path)
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(keeper.catch_up)
    store.cancel("edited")
    other = await client.submit(request)
    with anyio.fail_after(10):
        await on_disk(tmp_path / other.id, [play(store), play(store)])


async def test_every_committed_episode_is_written_to_disk_once(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = [play(store), play(store)]
    await on_disk(tmp_path / status.id, played)
    assert RunFolder(tmp_path / status.id).evaluation().request == status.request


async def test_a_restarted_app_writes_what_was_committed_meanwhile(store: JobStore, tmp_path: Path) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    specs = episodes("restarted", request)
    store.submit(evaluation("restarted", request, episodes=len(specs)), specs)
    played = play(store)
    for _ in range(2):
        ResultKeeper(store, tmp_path).catch_up()
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
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(cut_off)) as other:
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


async def test_a_summary_is_that_of_the_closing_table(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    submitted = (await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]})).json()
    assert submitted["agent_name"] == "hierarchical"
    played = [play(store), play(store, error=EpisodeError(kind="EnvironmentFault", message="It hung."))]
    assert await client.summary(submitted["id"]) == beside_published(submitted["id"], summarise(played))
    assert (await http.get("/v1/evaluations/nobody/summary")).status_code == 404
