"""Play along: a session over a real Redis, with a worker's host, both services and the scripted world."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from services.env_runner.app import create_app
from services.env_runner.play_along_host import PlayHost
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.settings import Settings
from services.env_runner.worker import Worker
from tests.serving import scripted_services
from waymark.contracts import EpisodeResult
from waymark.errors import QueueFull
from waymark.evaluation.play_along import PlayRequest, PlayView
from waymark.evaluation.turn_explanation import explain
from waymark.worlds.scripted.environment import SOLUTION, ScriptedEnvironment

pytestmark = pytest.mark.anyio
SECONDS = 30


@dataclass
class Table:
    """The interface, and what stands behind it."""

    http: httpx.AsyncClient
    host: PlayHost
    queue: PlayQueue
    opened: list[ScriptedEnvironment]
    runs: Path

    async def begin(self, **fields: object) -> str:
        answer = await self.http.post("/v1/play", json={"task": "4-2", "variation": 0, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def wait(self, session: str, state: str = "ready", turn: int | None = None) -> PlayView:
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            view = PlayView.model_validate((await self.http.get(f"/v1/play/{session}")).json())
            if view.state == state and turn in (None, view.turn):
                return view
            assert view.state != "ended", view.problem
            await asyncio.sleep(0.02)
        raise AssertionError(view)

    async def decide(self, session: str, kind: str, text: str | None, turn: int) -> int:
        body = {"kind": kind, "text": text, "turn": turn}
        return (await self.http.post(f"/v1/play/{session}/turns", json=body)).status_code


@pytest.fixture
async def table(redis_url: str, tmp_path: Path) -> AsyncIterator[Table]:
    store, queue = JobStore(redis_url), PlayQueue(redis_url)
    runner = Settings(environment="scripted", runs=tmp_path, play_sessions=2, play_minutes=1)
    provenance = Provenance("scripted", None)
    opened: list[ScriptedEnvironment] = []

    def open_environment() -> ScriptedEnvironment:
        opened.append(ScriptedEnvironment())
        return opened[-1]

    async with scripted_services() as services:
        app = create_app(runner, store, *services, provenance, queue)
        host = PlayHost(queue, store, *services, open_environment, provenance, idle_seconds=5)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as http,
        ):
            yield Table(http, host, queue, opened, tmp_path)
    queue._redis.flushall()
    store.close()
    queue.close()


@pytest.fixture
async def hosted(table: Table) -> AsyncIterator[Table]:
    hosting = asyncio.create_task(table.host.run())
    yield table
    hosting.cancel()
    with suppress(asyncio.CancelledError):
        await hosting


async def test_a_session_is_played_saved_and_explained(hosted: Table) -> None:
    session = await hosted.begin()
    view = await hosted.wait(session)
    assert (view.turn, view.subgoal, view.actions) == (1, None, ())
    assert len(view.subgoals) >= 1
    assert "look around" in view.valid
    assert await hosted.decide(session, "action", "look around", 1) == 202
    view = await hosted.wait(session)
    while view.problem is None:
        view = await hosted.wait(session)
    assert "sub-goal" in view.problem
    assert await hosted.decide(session, "subgoal", view.subgoals[0].text, 1) == 202
    while not view.actions:
        view = await hosted.wait(session)
    for turn, action in enumerate(("look around", "dance wildly", "go to kitchen"), start=1):
        view = await hosted.wait(session, turn=turn)
        if view.subgoal is None:
            await hosted.decide(session, "subgoal", "navigate_to(kitchen)", turn)
            while (await hosted.wait(session)).subgoal is None:  # noqa: ASYNC110 - the interface is what a person sees
                await asyncio.sleep(0.02)
        assert await hosted.decide(session, "action", action, turn) == 202
    view = await hosted.wait(session, turn=4)
    assert [turn.action for turn in view.turns] == ["look around", "dance wildly", "go to kitchen"]
    assert [turn.known for turn in view.turns] == [True, False, True]
    assert (await hosted.http.post(f"/v1/play/{session}/end")).status_code == 202
    view = await hosted.wait(session, "ended")
    assert view.run is not None
    assert "-play-" in view.run
    [light] = (await hosted.http.get(f"/v1/evaluations/{view.run}/results")).json()
    result = EpisodeResult.model_validate(
        (await hosted.http.get(f"/v1/evaluations/{view.run}/episodes/{light['id']}")).json()
    )
    assert [turn.action for turn in result.trajectory] == ["look around", "dance wildly", "go to kitchen"]
    assert result.trajectory[0].subgoals
    assert {model.asked for model in explain(result, 1).models} == {"controller", "executor"}
    began = time.monotonic()
    while not (hosted.runs / view.run / "episodes.jsonl").exists() and time.monotonic() < began + SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert (hosted.runs / view.run / "episodes.jsonl").exists()


async def test_an_open_session_takes_no_slot_from_evaluations(table: Table, redis_url: str) -> None:
    store = JobStore(redis_url)
    worker = Worker(
        store,
        table.host._controller,
        table.host._executor,
        ScriptedEnvironment,
        Provenance("scripted", None),
        slots=1,
        lease_seconds=30,
        redis_wait_seconds=5,
        play_host=table.host,
    )
    table.host._idle_seconds = SECONDS  # on a busy machine the episodes take longer than the fixture's
    working = asyncio.create_task(worker.run())
    session = await table.begin()
    await table.wait(session)
    name = (await table.http.post("/v1/evaluations", json={"tasks": ["4-2", "1-1"]})).json()["id"]
    began = time.monotonic()
    while store.status(name).state != "finished" and time.monotonic() < began + SECONDS:  # noqa: ASYNC110 - as a user sees it
        await asyncio.sleep(0.05)
    assert store.status(name).state == "finished"
    assert table.queue.look(session).state == "ready"
    worker.stop()
    await asyncio.wait_for(working, SECONDS)
    assert table.queue.look(session).state == "ended"
    store.close()


async def test_the_oracle_path_is_shown_on_request(hosted: Table) -> None:
    session = await hosted.begin(oracle=True)
    view = await hosted.wait(session, "ended")
    assert (view.oracle, view.problem) == (SOLUTION, None)


async def test_open_sessions_are_bounded(table: Table) -> None:
    first = await table.begin()
    await table.begin()
    refused = await table.http.post("/v1/play", json={"task": "4-2", "variation": 0})
    assert refused.status_code == 429
    assert "limit" in refused.json()["detail"]
    table.queue.close_session(first)
    assert (await table.http.post("/v1/play", json={"task": "4-2", "variation": 0})).status_code == 201


async def test_an_idle_session_ends_and_frees_its_place(hosted: Table) -> None:
    hosted.host._idle_seconds = 0.5
    session = await hosted.begin()
    view = await hosted.wait(session, "ended")
    assert "timed out" in (view.problem or "")
    assert await hosted.decide(session, "action", "look around", 1) == 404


async def test_a_session_that_no_worker_takes_times_out(table: Table) -> None:
    view = PlayView(
        id="0" * 16, state="waiting", task="4-2", variation=0, agent=PlayRequest(task="4-2", variation=0).agent
    )
    table.queue.begin(view, PlayRequest(task="4-2", variation=0), most=2, seconds=0.1)
    await asyncio.sleep(0.2)
    assert table.queue.look(view.id).state == "ended"
    assert table.queue.take(0.1) is None


class Clock:
    """A monotonic clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_wall_clocks_end_no_session(hosted: Table) -> None:
    session = await hosted.begin()
    for skew in (-40_000_000, 40_000_000):  # what an app on a machine with another date would have written
        hosted.queue._redis.zadd("waymark:play:open", {session: time.time() + skew})
        await hosted.wait(session)
        assert await hosted.decide(session, "action", "look around", 1) == 202
        await asyncio.sleep(1.2)  # the host looks at it each second
    await hosted.wait(session)
    assert hosted.queue.look(session).seconds_left > 30


async def test_keys_of_an_open_session_expire_only_after_its_end(hosted: Table) -> None:
    session = await hosted.begin()
    await hosted.wait(session)
    keys = [f"waymark:play:{session}{part}" for part in ("", ":request")]
    assert [hosted.queue._redis.ttl(key) for key in keys] == [-1, -1], "a Redis whose clock is set forward loses none"
    assert (await hosted.http.post(f"/v1/play/{session}/end")).status_code == 202
    await hosted.wait(session, "ended")
    await asyncio.sleep(0.5)
    assert all(0 < hosted.queue._redis.ttl(key) <= 3_600 for key in keys)


async def test_sessions_of_dead_workers_end_by_the_apps_clock(redis_url: str) -> None:
    clock, restarted_clock = Clock(), Clock()
    queue, restarted = PlayQueue(redis_url, clock=clock), PlayQueue(redis_url, clock=restarted_clock)
    request = PlayRequest(task="4-2", variation=0)
    views = [
        PlayView(id=digit * 16, state="waiting", task="4-2", variation=0, agent=request.agent) for digit in "123456"
    ]
    queue._redis.flushall()
    for view in views[:2]:
        queue.begin(view, request, most=2, seconds=60)
    assert queue.take(0.1) is not None  # by a worker that dies then
    with pytest.raises(QueueFull):
        queue.begin(views[2], request, most=2, seconds=60)
    assert restarted.look(views[0].id).seconds_left == 60, "an app that starts anew has not seen the session before"
    clock.now = restarted_clock.now = 59.5
    assert queue.look(views[0].id).state == restarted.look(views[0].id).state == "waiting"
    clock.now = restarted_clock.now = 60.5
    assert restarted.look(views[0].id).state == "ended"
    queue.begin(views[3], request, most=1, seconds=60)
    assert queue.look(views[1].id).state == "ended"
    assert [view.id for view, _ in iter(lambda: queue.take(0.1), None)] == [views[3].id], "an ended one is not taken"
    queue._redis.flushall()
    queue.close()
    restarted.close()


@pytest.mark.parametrize("damage", ["x", "{}", "", None])
async def test_a_damaged_session_costs_no_other_one(hosted: Table, damage: str | None) -> None:
    redis = hosted.queue._redis
    redis.zadd("waymark:play:open", {"f" * 16: 1})
    if damage is not None:
        redis.set(f"waymark:play:{'f' * 16}", damage)
    redis.rpush("waymark:play:waiting", "f" * 16)
    assert (await hosted.http.get(f"/v1/play/{'f' * 16}")).status_code in (404, 503)
    first = await hosted.begin()
    await hosted.wait(first)
    await hosted.begin()  # its place is free again


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("tasks", {"task": "99-9", "variation": 0}),
        ("variations", {"task": "4-2", "variation": 99_999}),
        ("agent.subgoals", {"task": "4-2", "variation": 0, "agent": {"subgoals": "random"}}),
        ("options", {"task": "4-2", "variation": 0, "options": "fly"}),
        ("simplifications", {"task": "4-2", "variation": 0, "simplifications": "fly"}),
    ],
)
async def test_a_session_that_cannot_be_is_refused(table: Table, field: str, body: dict[str, object]) -> None:
    refused = await table.http.post("/v1/play", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


async def test_a_failing_environment_ends_its_session_alone(hosted: Table) -> None:
    def broken() -> ScriptedEnvironment:
        raise RuntimeError("no memory")

    good = hosted.host._open_environment
    hosted.host._open_environment = broken
    session = await hosted.begin()
    view = await hosted.wait(session, "ended")
    assert view.problem
    hosted.host._open_environment = good
    await hosted.wait(await hosted.begin())


async def test_a_session_is_saved_when_the_worker_stops(table: Table) -> None:
    hosting = asyncio.create_task(table.host.run())
    session = await table.begin(agent={"subgoals": "none", "executor_model": "flat"})
    await table.wait(session)
    assert await table.decide(session, "action", "look around", 1) == 202
    await table.wait(session, turn=2)
    hosting.cancel()
    with suppress(asyncio.CancelledError):
        await hosting
    view = await table.wait(session, "ended")
    assert view.problem == "The worker was stopped."
    assert view.run is not None
    [light] = (await table.http.get(f"/v1/evaluations/{view.run}/results")).json()
    assert (light["actions"], light["stopped"]) == (1, "cancelled")
