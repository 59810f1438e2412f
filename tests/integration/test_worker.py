"""A worker over a real Redis and both services in process; its environments fail as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import anyio
import httpx
import pytest
from fastapi import FastAPI

from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.worker import SharedLock, Worker
from tests.samples import VERSIONS, evaluation
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import AgentConfig, EvaluationRequest, Limits, MadeBy
from waymark.errors import EnvironmentFault, JavaMissing, SimulatorNotStarted
from waymark.evaluation.requested_episodes import episodes
from waymark.serving.app import create_app
from waymark.serving.loaded_models import ServedModel, scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.worlds.base import Environment, Step
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio
LEASE_SECONDS = 2.0
REDIS_WAIT_SECONDS = 10.0


class FaultyEnvironment(ScriptedEnvironment):
    """Its first step is its last."""

    def step(self, action: str) -> Step:
        raise EnvironmentFault("The JVM died.")


class HeldEnvironment(ScriptedEnvironment):
    """Plays no step until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.stepping = threading.Event()
        self.let_go = threading.Event()

    def step(self, action: str) -> Step:
        self.stepping.set()
        self.let_go.wait(10)
        return super().step(action)


class Replicas(httpx.AsyncBaseTransport):
    """Several apps behind one address, which take decisions in turn; the first one says what it is."""

    def __init__(self, apps: Sequence[FastAPI]) -> None:
        self._transports = [httpx.ASGITransport(app) for app in apps]
        self._decisions = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self._decisions += 1
            return await self._transports[self._decisions % len(self._transports)].handle_async_request(request)
        return await self._transports[0].handle_async_request(request)


class OlderServer(Replicas):
    """Does not say what it runs, and says at last that it runs something else."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        body = json.loads(await response.aread())
        if request.method == "POST":
            del body["checkpoint_sha256"], body["runtime"]
        elif self._decisions > 2:
            body["checkpoints"][0]["sha256"] = "d" * 64
        return httpx.Response(response.status_code, json=body)


def executor_of(sha256: str) -> ServedModel:
    """An executor without weights that claims to have some."""
    model = scripted_model("default", "executor")
    return replace(model, info=model.info.model_copy(update={"sha256": sha256}))


@asynccontextmanager
async def working(
    store: JobStore,
    open_environment: Callable[[], Environment],
    *,
    executors: Sequence[str] = ("",),
    serve: Callable[[Sequence[FastAPI]], Replicas] = Replicas,
    checkpoint_wait_seconds: float = 60.0,
    world: str = "scripted",
) -> AsyncIterator[Worker]:
    """A worker with one slot, at work; stopped at the end. Executors of these hashes answer decisions in turn."""
    controller = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    replicas = [create_app("executor", {"default": executor_of(sha256)}, ServiceSettings()) for sha256 in executors]
    async with AsyncExitStack() as running:
        for app in (controller, *replicas):
            await running.enter_async_context(app.router.lifespan_context(app))
        worker = Worker(
            store,
            ControllerClient("http://controller", transport=httpx.ASGITransport(controller)),
            ExecutorClient("http://executor", transport=serve(replicas)),
            open_environment,
            Provenance(world, "abc"),
            slots=1,
            lease_seconds=LEASE_SECONDS,
            redis_wait_seconds=REDIS_WAIT_SECONDS,
            checkpoint_wait_seconds=checkpoint_wait_seconds,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            yield worker
            worker.stop()


def submit(store: JobStore, name: str, *, limits: Limits | None = None) -> None:
    request = EvaluationRequest(tasks=("4-2",), limits=limits)
    store.submit(evaluation(name, request, episodes=1), episodes(name, request))


async def finish(store: JobStore, name: str) -> None:
    with anyio.fail_after(30):
        while store.status(name).state != "finished":  # noqa: ASYNC110 - Redis is what is waited for
            await anyio.sleep(0.05)


class Swapped(Replicas):
    """The first of two apps until a decision is asked for, then the second."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._decisions += request.method == "POST"
        return await self._transports[min(self._decisions, 1)].handle_async_request(request)


async def test_a_paused_episode_gives_up_its_slot_to_playable_ones(store: JobStore) -> None:
    old, new = "a" * 64, "b" * 64
    for name, sha256 in (("paused", old), ("playable", new)):
        request = EvaluationRequest(tasks=("4-2",))
        executor = VERSIONS.executor.model_copy(update={"sha256": sha256})
        versions = VERSIONS.model_copy(update={"executor": executor})
        header = evaluation(name, request, episodes=1).model_copy(update={"versions": versions})
        store.submit(header, episodes(name, request))
    async with working(store, ScriptedEnvironment, executors=(old, new), serve=Swapped):
        await finish(store, "playable")
    assert store.status("paused").finished == 0
    [made_by] = {result.checkpoints for result in store.results("playable")}
    assert made_by == MadeBy(controller="", executor=new[:12])


@pytest.mark.parametrize("key", ["waymark:active", "waymark:protocol"])
async def test_a_worker_outlives_a_damaged_key_of_all_evaluations(store: JobStore, key: str) -> None:
    store._redis.delete(key)
    store._redis.hset(key, "not", "ours")
    async with working(store, ScriptedEnvironment):
        await anyio.sleep(1.5)
        store._redis.delete(key)
        submit(store, f"after-{key}")
        await finish(store, f"after-{key}")


async def test_after_a_fault_an_episode_gets_a_fresh_environment(store: JobStore) -> None:
    environments = iter([FaultyEnvironment(), ScriptedEnvironment()])
    submit(store, "once")
    async with working(store, lambda: next(environments)):
        await finish(store, "once")
    (result,) = store.results("once")
    assert result.error is None
    assert result.turns > 0
    assert next(environments, None) is None


async def test_an_episode_that_fails_twice_is_an_errored_result(store: JobStore) -> None:
    environments = iter([FaultyEnvironment(), FaultyEnvironment(), ScriptedEnvironment()])
    submit(store, "twice")
    async with working(store, lambda: next(environments)):
        await finish(store, "twice")
        submit(store, "next")
        await finish(store, "next")
    (failed,), (played,) = store.results("twice"), store.results("next")
    assert failed.error is not None
    assert (failed.error.kind, failed.score) == ("EnvironmentFault", 0)
    assert played.error is None


class Mistaken(ScriptedEnvironment):
    """Has a mistake in one of its methods."""

    def __init__(self, method: str) -> None:
        super().__init__()
        setattr(self, method, self._divide)

    def _divide(self, *_: object) -> Step:
        raise ZeroDivisionError("a mistake\n" + 5_000 * "x")


@pytest.mark.parametrize("method", ["reset", "step", "valid_actions"])
async def test_a_mistake_in_the_code_costs_its_episode_alone(store: JobStore, method: str) -> None:
    environments = iter([Mistaken(method), ScriptedEnvironment()])
    submit(store, f"mistaken-{method}")
    async with working(store, lambda: next(environments)):
        await finish(store, f"mistaken-{method}")
        submit(store, f"sound-{method}")
        await finish(store, f"sound-{method}")
    (failed,), (played,) = store.results(f"mistaken-{method}"), store.results(f"sound-{method}")
    assert failed.error is not None
    assert failed.error.kind == "EpisodeFailed"
    assert failed.error.message.startswith("ZeroDivisionError: a mistake")
    assert len(failed.error.message) < 700
    assert played.error is None


async def test_a_result_names_its_worker_its_checkpoints_and_its_effort(store: JobStore) -> None:
    submit(store, "named")
    async with working(store, ScriptedEnvironment):
        await finish(store, "named")
    (light,) = store.results("named")
    result = store.episode("named", light.id)
    assert result.agent == AgentConfig()
    assert result.versions is not None
    assert (result.versions.environment, result.versions.commit) == ("scripted", "abc")
    assert result.versions.executor.sha256 == scripted_model("default", "executor").info.sha256
    assert result.model_calls > 0
    assert 0 < result.completion_tokens < result.prompt_tokens == result.tokens - result.completion_tokens
    assert light == result.without_trajectory()


@pytest.mark.parametrize(("world", "has_rules"), [("scripted", True), ("textworld-express 1.1.0", False)])
async def test_an_agent_plays_by_the_rules_of_its_evaluations_world(
    store: JobStore, world: str, has_rules: bool
) -> None:
    name, request = f"rules-{has_rules}", EvaluationRequest(tasks=("4-2",))
    submitted = evaluation(name, request, episodes=1)
    versions = submitted.model_copy(update={"versions": VERSIONS.model_copy(update={"environment": world})})
    store.submit(versions, episodes(name, request))
    async with working(store, ScriptedEnvironment, world=world):
        await finish(store, name)
    (played,) = store.results(name)
    assert played.error is None
    assert bool(played.rules) == has_rules


async def test_answers_of_replicas_with_other_weights_are_never_used(store: JobStore) -> None:
    submit(store, "replicas", limits=Limits(moves=100, turns=6))
    async with working(store, ScriptedEnvironment, executors=("", "b" * 64)):
        await finish(store, "replicas")
    (light,) = store.results("replicas")
    assert (light.error, light.checkpoints) == (None, MadeBy(controller="", executor=""))
    assert light.turns > 2


async def test_swapped_weights_of_an_older_server_are_found_afterwards(store: JobStore) -> None:
    submit(store, "older-server")
    async with working(store, ScriptedEnvironment, serve=OlderServer):
        with anyio.fail_after(30):
            while store.status("older-server").waiting is None:  # noqa: ASYNC110 - Redis is what is waited for
                await anyio.sleep(0.02)
        await anyio.sleep(0.5)
    assert store.results("older-server") == []


async def test_a_paused_episode_goes_back_to_the_queue_uncounted(store: JobStore) -> None:
    submit(store, "limited")
    async with working(store, ScriptedEnvironment, executors=("", "b" * 64, "b" * 64), checkpoint_wait_seconds=0):
        with anyio.fail_after(30):
            while store.status("limited").waiting is None:  # noqa: ASYNC110 - Redis is what is waited for
                await anyio.sleep(0.02)
        await anyio.sleep(1)
    assert store.results("limited") == []
    again = store.lease("another", wait_seconds=0.01)
    assert again is not None
    assert again.deliveries == 1


async def test_an_evaluation_of_other_checkpoints_is_refused_without_counting(store: JobStore) -> None:
    submit(store, "refused")
    async with working(store, ScriptedEnvironment, executors=("c" * 64,)):
        with anyio.fail_after(30):
            while (mismatch := store.status("refused").waiting) is None:  # noqa: ASYNC110 - Redis is what is waited for
                await anyio.sleep(0.02)
        await anyio.sleep(0.5)
        again = store.lease("another", wait_seconds=0.01)
    assert "cccccccccccc" in mismatch.found
    assert again is not None
    assert (again.deliveries, store.results("refused")) == (1, [])


async def test_an_evaluation_that_needs_a_missing_planner_is_skipped(store: JobStore) -> None:
    request = EvaluationRequest(tasks=("4-2",), agent=AgentConfig(subgoals="llm_plan"))
    planned = evaluation("planned", request, episodes=1)
    store.submit(planned, episodes("planned", request))
    submit(store, "beside")
    async with working(store, ScriptedEnvironment):
        await finish(store, "beside")
    assert store.status("planned").finished == 0
    mismatch = store.status("planned").waiting
    assert mismatch is not None
    assert "no planner" in mismatch.found


async def test_a_cancelled_episode_stops_and_leaves_no_result(store: JobStore) -> None:
    environment = HeldEnvironment()
    submit(store, "cancelled")
    async with working(store, lambda: environment) as worker:
        await anyio.to_thread.run_sync(environment.stepping.wait, 10)
        store.cancel("cancelled")
        await anyio.sleep(LEASE_SECONDS / 2)
        environment.let_go.set()
        worker.stop()
    assert store.results("cancelled") == []
    assert store.status("cancelled").state == "cancelled"


async def test_a_stopped_worker_gives_its_episode_back_uncounted(store: JobStore) -> None:
    environment = HeldEnvironment()
    submit(store, "given-back")
    async with working(store, lambda: environment) as worker:
        await anyio.to_thread.run_sync(environment.stepping.wait, 10)
        worker.stop()
        environment.let_go.set()
    again = store.lease("another", wait_seconds=0.01)
    assert again is not None
    assert (again.spec.evaluation, again.deliveries) == ("given-back", 1)


class Starts:
    """Environments that open, or fail to, in this order; the last one again and again."""

    def __init__(self, *outcomes: EnvironmentFault | None) -> None:
        self._outcomes = list(outcomes)

    def __call__(self) -> Environment:
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if outcome is not None:
            raise outcome
        return FaultyEnvironment()


KILLED = SimulatorNotStarted("It was killed.", killed=True)
REFUSED = SimulatorNotStarted("It said no.")


@pytest.mark.parametrize(
    ("starts", "kind"),
    [
        (Starts(KILLED), "SimulatorNotStarted"),  # at the beginning, and for each episode
        (Starts(KILLED, None), "EnvironmentFault"),  # its second try steps, and fails there
        (Starts(None, REFUSED), "SimulatorNotStarted"),  # the second try of the episode
    ],
)
async def test_a_failed_start_costs_its_episode_alone(store: JobStore, starts: Starts, kind: str) -> None:
    name = f"starts-{kind}-{id(starts)}"
    submit(store, name)
    async with working(store, starts):
        await finish(store, name)
    (result,) = store.results(name)
    assert result.error is not None
    assert result.error.kind == kind


@pytest.mark.parametrize("fault", [JavaMissing("No Java."), REFUSED])
async def test_a_worker_ends_when_no_environment_starts_at_all(store: JobStore, fault: EnvironmentFault) -> None:
    def no_java() -> Environment:
        raise fault

    with pytest.raises(type(fault)):
        await Worker(
            store,
            ControllerClient("http://controller"),
            ExecutorClient("http://executor"),
            no_java,
            Provenance("scripted", "abc"),
            slots=2,
            lease_seconds=LEASE_SECONDS,
            redis_wait_seconds=REDIS_WAIT_SECONDS,
        ).run()


async def test_an_exclusive_waiter_gets_the_lock_before_later_ones() -> None:
    lock = SharedLock()
    seen: list[str] = []
    leave = anyio.Event()

    async def share_first() -> None:
        async with lock.shared():
            seen.append("first")
            await leave.wait()
            seen.append("first leaves")

    async def take_alone() -> None:
        async with lock.alone():
            seen.append("alone")
            await anyio.wait_all_tasks_blocked()
            seen.append("alone leaves")

    async def share_second() -> None:
        async with lock.shared():
            seen.append("second")

    async with anyio.create_task_group() as tasks:
        for task in (share_first, take_alone, share_second):
            tasks.start_soon(task)
            await anyio.wait_all_tasks_blocked()
        leave.set()
    assert seen == ["first", "first leaves", "alone", "alone leaves", "second"]


async def test_keys_of_the_wrong_type_cost_their_evaluation_alone(store: JobStore) -> None:
    environment = HeldEnvironment()
    submit(store, "damaged")
    async with working(store, lambda: environment):
        with anyio.fail_after(30):
            while not environment.stepping.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(0.05)
        store._redis.set("waymark:evaluation:damaged:results", "no hash")
        environment.let_go.set()
        submit(store, "sound")
        await finish(store, "sound")
    assert store.status("damaged").finished == 0
    store._redis.delete("waymark:evaluation:damaged:results")
