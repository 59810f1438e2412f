"""The clients, with asyncio and without, against the real apps in this process and against services that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.samples import result
from waymark.clients.services import (
    ControllerClient,
    EvaluationClient,
    ExecutorClient,
    SyncControllerClient,
    SyncEvaluationClient,
    SyncExecutorClient,
)
from waymark.clients.services.calls import INFO
from waymark.clients.services.retries import ServiceProtocol
from waymark.contracts import (
    ActionRequest,
    AgentState,
    EpisodeEntry,
    EpisodePage,
    EpisodeResult,
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    SubgoalRequest,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.errors import (
    ControllerUnavailable,
    DeadlineExceeded,
    ExecutorUnavailable,
    ServiceError,
    ServiceRejected,
)
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

STATE = AgentState(task="Your task is to boil water.", look="This room is called the kitchen.")
ANSWER = SubgoalResponse(
    subgoal="wait(1)",
    alternatives=(),
    model="default",
    usage=Usage(prompt_tokens=1, completion_tokens=1),
    timing_ms=Timing(queue=0, model=0, total=0),
)

Handler = Callable[[httpx.Request], httpx.Response]
Controller = Callable[..., Callable[[], Awaitable[SubgoalResponse]]]


@pytest.fixture(params=["asyncio", "blocking"])
def controller(request: pytest.FixtureRequest) -> Controller:
    """Makes a client of a service that answers by a handler, and gives what asks it for a sub-goal."""

    def make(handler: Handler, **options: Any) -> Callable[[], Awaitable[SubgoalResponse]]:
        transport = httpx.MockTransport(handler)

        async def ask() -> SubgoalResponse:
            if request.param == "asyncio":
                async with ControllerClient("http://c", transport=transport, **options) as client:
                    return await client.subgoal(STATE)
            with SyncControllerClient("http://c", transport=transport, **options) as blocking:
                return blocking.subgoal(STATE)

        return ask

    return make


class Service:
    """Answers in turn with these outcomes, the last one for good, and keeps what it was asked."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self._outcomes = list(outcomes)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def deadlines(self) -> list[int]:
        return [int(request.headers["x-waymark-deadline-ms"]) for request in self.asked]


def answer() -> httpx.Response:
    return httpx.Response(200, content=ANSWER.model_dump_json())


@asynccontextmanager
async def executor() -> AsyncIterator[ExecutorClient]:
    generator = ScriptedGenerator(lambda _: [("look around", -1.0), ("end", -2.0), ("inventory", -3.0)])
    app = create_app("executor", {"default": scripted_model("default", "executor", generator)}, ServiceSettings())
    async with (
        app.router.lifespan_context(app),
        ExecutorClient("http://executor", transport=httpx.ASGITransport(app)) as client,
    ):
        yield client


async def test_an_executor_gives_actions_and_ranks_valid_ones() -> None:
    async with executor() as client:
        assert await client.ready()
        assert (await client.info()).service == "executor"
        free = await client.action(STATE, n=2)
        bound = await client.action(STATE, valid_actions=["inventory", "go to kitchen"])
    assert [alternative.action for alternative in free.alternatives] == ["look around", None]
    assert bound.action == "inventory"


async def test_several_states_are_asked_about_at_once() -> None:
    async with executor() as client:
        requests = [ActionRequest(state=STATE), ActionRequest(state=STATE, valid_actions=("inventory",))]
        assert [action.action for action in await client.actions(requests)] == ["look around", "inventory"]
        with pytest.raises(ServiceRejected) as caught:
            await client.actions([ActionRequest(state=STATE), ActionRequest(state=STATE, model="big")])
    assert caught.value.field == "1.model"


async def test_a_controller_is_asked_for_subgoals() -> None:
    app = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), ControllerClient("http://c", transport=transport) as client:
        best = await client.subgoal(STATE, n=3)
        both = await client.subgoals([SubgoalRequest(state=STATE)] * 2)
    assert len({alternative.subgoal for alternative in best.alternatives}) == 3
    assert best.subgoal == best.alternatives[0].subgoal
    assert [response.subgoal for response in both] == [best.subgoal] * 2


async def test_the_error_of_a_rejected_request_names_the_field() -> None:
    async with executor() as client:
        with pytest.raises(ServiceRejected, match="big") as caught:
            await client.action(STATE, model="big")
    assert caught.value.field == "model"


async def test_a_service_that_starts_is_waited_for(controller: Controller) -> None:
    full = httpx.Response(429, headers={"retry-after": "0"})
    service = Service(httpx.ConnectError("refused"), httpx.Response(503), full, answer())
    assert await controller(service)() == ANSWER
    assert len(service.asked) == 4


async def test_each_attempt_sends_the_time_that_is_left(controller: Controller) -> None:
    service = Service(httpx.Response(503), httpx.Response(503), answer())
    await controller(service, timeout=5.0)()
    first, second, third = service.deadlines()
    assert 5_000 >= first > second > third >= 1


async def test_a_call_without_time_left_is_not_retried(controller: Controller) -> None:
    service = Service(httpx.Response(503))
    with pytest.raises(ControllerUnavailable):
        await controller(service, timeout=0.3, retry_seconds=60.0)()
    assert 2 <= len(service.asked) <= 6


async def test_a_retry_after_the_deadline_is_not_made(controller: Controller) -> None:
    service = Service(httpx.Response(429, headers={"retry-after": "60"}))
    with pytest.raises(ControllerUnavailable):
        await controller(service)()
    assert len(service.asked) == 1


def test_refused_callers_retry_at_different_times() -> None:
    protocol = ServiceProtocol("executor", ExecutorUnavailable, "http://e", timeout=60.0, retry_seconds=60.0)
    waits = []
    for _ in range(20):
        asking = protocol.ask(INFO)
        next(asking)
        waits.append(asking.send(httpx.Response(429, headers={"retry-after": "1"})))
    assert len(set(waits)) == len(waits)
    assert all(isinstance(wait, float) and wait > 1 for wait in waits)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422])
async def test_invalid_requests_are_not_retried(controller: Controller, status: int) -> None:
    service = Service(httpx.Response(status))
    with pytest.raises(ServiceRejected):
        await controller(service)()
    assert len(service.asked) == 1


async def test_an_absent_service_is_named_once_the_budget_is_spent(controller: Controller) -> None:
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(ControllerUnavailable, match="http://c cannot be reached: refused"):
        await controller(service, retry_seconds=0.2)()
    transport = httpx.MockTransport(service)
    assert not await ControllerClient("http://c", transport=transport).ready()
    assert not SyncControllerClient("http://c", transport=transport).ready()


async def test_each_status_has_its_error(controller: Controller) -> None:
    def answering(status: int) -> Callable[[], Awaitable[SubgoalResponse]]:
        return controller(Service(httpx.Response(status)), retry_seconds=0.0)

    with pytest.raises(ControllerUnavailable):
        await answering(429)()
    with pytest.raises(DeadlineExceeded):
        await answering(504)()
    with pytest.raises(ServiceRejected, match="WAYMARK_API_KEY"):
        await answering(401)()
    with pytest.raises(ServiceError) as caught:
        await answering(500)()
    assert caught.type is ServiceError
    with pytest.raises(ServiceError, match="something else"):
        await controller(Service(httpx.Response(200, json={})))()


async def test_a_call_that_timed_out_is_not_retried(controller: Controller) -> None:
    service = Service(httpx.ReadTimeout("too slow"))
    with pytest.raises(DeadlineExceeded):
        await controller(service)()
    assert len(service.asked) == 1


async def test_the_key_is_an_argument_or_read_from_the_environment(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYMARK_API_KEY", raising=False)
    service = Service(answer())
    await controller(service)()
    monkeypatch.setenv("WAYMARK_API_KEY", "of-the-environment")
    await controller(service)()
    await controller(service, api_key="given")()
    sent = [request.headers.get("authorization") for request in service.asked]
    assert sent == [None, "Bearer of-the-environment", "Bearer given"]


async def test_before_it_is_ready_an_executor_is_unavailable() -> None:
    app = create_app("executor", {"default": scripted_model("default", "executor")}, ServiceSettings())
    client = ExecutorClient("http://e", transport=httpx.ASGITransport(app), retry_seconds=0.0)
    assert not await client.ready()
    with pytest.raises(ExecutorUnavailable, match="starting"):
        await client.action(STATE)


def test_the_blocking_executor_asks_for_one_and_for_several() -> None:
    answered: dict[str, Any] = {
        "action": None,
        "ended_subgoal": True,
        "alternatives": [],
        "model": "default",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "timing_ms": {"queue": 0, "model": 0, "total": 0},
    }

    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[answered] if request.url.path == "/v1/actions" else answered)

    with SyncExecutorClient("http://e", transport=httpx.MockTransport(service)) as client:
        assert client.ready()
        assert client.action(STATE, valid_actions=["inventory"]).ended_subgoal
        assert [action.action for action in client.actions([ActionRequest(state=STATE)])] == [None]


STATUS = EvaluationStatus(
    id="e", request=EvaluationRequest(), state="running", created="now", episodes=2, finished=1, errored=0, running=1
)


def events(*sent: EpisodeResult | EvaluationStatus) -> httpx.Response:
    """A stream of these; each result has its own number."""
    lines = ""
    for event in sent:
        if isinstance(event, EpisodeResult):
            lines += f"id: {event.variation}\nevent: episode\ndata: {event.model_dump_json()}\n\n"
        else:
            lines += f"event: status\ndata: {event.model_dump_json()}\n\n"
    return httpx.Response(200, content=lines, headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("blocking", [False, True])
async def test_events_that_break_off_go_on_where_they_broke(blocking: bool) -> None:
    first, second = result("a", variation=1), result("b", variation=2)
    finished = STATUS.model_copy(update={"state": "finished"})
    broken = httpx.ReadError("reset")
    service = Service(events(STATUS, first), broken, httpx.Response(503), events(second, finished))
    transport = httpx.MockTransport(service)
    if blocking:
        received = list(SyncEvaluationClient("http://r", transport=transport).events("e"))
    else:
        received = [event async for event in EvaluationClient("http://r", transport=transport).events("e")]
    assert received == [STATUS, first, second, finished]
    assert [request.headers["last-event-id"] for request in service.asked] == ["0", "1", "1", "1"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_evaluation_is_submitted_again_under_the_same_key(blocking: bool) -> None:
    status = httpx.Response(201, content=STATUS.model_dump_json())
    service = Service(httpx.Response(503), status, status)
    transport = httpx.MockTransport(service)
    for key in (None, "mine"):
        if blocking:
            SyncEvaluationClient("http://r", transport=transport).submit(EvaluationRequest(), key=key)
        else:
            await EvaluationClient("http://r", transport=transport).submit(EvaluationRequest(), key=key)
    first, repeated, chosen = (request.headers["idempotency-key"] for request in service.asked)
    assert first == repeated != chosen == "mine"


@pytest.mark.parametrize("blocking", [False, True])
async def test_pages_are_fetched_by_cursor_and_errored_episodes_resumed(blocking: bool) -> None:
    evaluations = EvaluationPage(items=(STATUS,), next_cursor="e")
    light = EpisodeEntry(id="a", task="1-1", variation=21, result=result("a"))
    episodes = EpisodePage(items=(light,), next_cursor=None)
    answers = (evaluations, evaluations, episodes, STATUS, STATUS)
    service = Service(*(httpx.Response(200, content=page.model_dump_json()) for page in answers))
    transport = httpx.MockTransport(service)
    if blocking:
        plain = SyncEvaluationClient("http://r", transport=transport)
        assert plain.evaluations() == plain.evaluations(limit=2, cursor="f") == evaluations
        assert plain.episodes("e", cursor="50") == episodes
        assert plain.resume("e") == plain.resume("e", errored=True)
    else:
        client = EvaluationClient("http://r", transport=transport)
        assert await client.evaluations() == await client.evaluations(limit=2, cursor="f") == evaluations
        assert await client.episodes("e", cursor="50") == episodes
        assert await client.resume("e") == await client.resume("e", errored=True)
    assert [str(request.url).removeprefix("http://r/v1/evaluations") for request in service.asked] == [
        "?limit=50",
        "?limit=2&cursor=f",
        "/e/episodes?limit=50&cursor=50",
        "/e/resume",
        "/e/resume?errored=true",
    ]
