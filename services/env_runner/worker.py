"""Plays episodes: a pool of simulator slots in one event loop, fed by leases from Redis.

Each slot holds one environment and plays one episode at a time; environments block and run in threads, so one
slot's loading hides behind another's play. A thread of its own renews the leases, whatever the loop is doing,
and learns from Redis which are lost or cancelled. A fault of the simulator costs its slot, not the worker: the
episode is played once more in a fresh one. When a service cannot be reached, the episode goes back to the queue.
Before each episode, and at every decision, the checkpoints are held to those that its evaluation was submitted for
(`identity`).
When Redis cannot, play goes on, and what it is to be told waits.

An episode that has been handed out as often as is allowed is played alone: whatever it does to the worker, no other
episode is taken down with it for the third time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import uvloop
from anyio import to_thread

from services.env_runner.floor import Floor
from services.env_runner.identity import CHECKPOINT_WAIT_SECONDS, CheckedController, CheckedExecutor, Gate, Refusals
from services.env_runner.metrics import WorkerMetrics
from services.env_runner.play_host import PlayHost
from services.env_runner.provenance import Provenance
from services.env_runner.queue import MAX_DELIVERIES, JobStore, Lease
from services.env_runner.queue.play import PlayQueue
from services.env_runner.settings import Settings
from waymark.agent.episode import RETRYABLE, run_episode
from waymark.agent.ports import RequestLimits
from waymark.agent.subgoal_sources.llm_plan import Planner
from waymark.clients.chat import ChatClient, Limits
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.clients.transport import AiohttpTransport
from waymark.contracts import (
    CheckpointMismatch,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    ServiceInfo,
    Versions,
)
from waymark.errors import (
    EnvironmentFault,
    EpisodeAbandoned,
    InvalidInput,
    JavaMissing,
    JobStoreUnavailable,
    NotFound,
    RecordDamaged,
    ServiceError,
    ServiceRejected,
    SimulatorNotStarted,
    WaymarkError,
    WrongCheckpoint,
)
from waymark.evaluation.identity import Difference, differences
from waymark.serving.telemetry import tracing
from waymark.worlds.base import Environment

LEASE_WAIT_SECONDS = 1.0
SERVICE_WAIT_SECONDS = 0.5
PLANNER_ATTEMPTS = 3
"""Tries for one plan."""
REDIS_WAIT_SECONDS = 0.5
"""Between two attempts, give or take a half."""
STOP_SECONDS = 2.0
"""How long a turn may still take once the worker is to stop."""
RENEWALS_PER_LEASE = 10
"""How often a lease is renewed within its period; also bounds how late a cancellation is noticed."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews leases from a thread and tells which of them are lost."""

    def __init__(self, store: JobStore, *, period: float) -> None:
        self._store = store
        self._period = period
        self._held: set[Lease] = set()
        self._lost: set[Lease] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    def hold(self, lease: Lease) -> None:
        """Renew this lease until it is dropped."""
        with self._lock:
            self._held.add(lease)

    def drop(self, lease: Lease) -> None:
        """Renew it no longer."""
        with self._lock:
            self._held.discard(lease)
            self._lost.discard(lease)

    def lost(self, lease: Lease) -> bool:
        """Another holds the episode by now, or its evaluation was cancelled."""
        with self._lock:
            return lease in self._lost

    def close(self) -> None:
        """Stop renewing."""
        self._closing.set()
        self._thread.join()

    def check(self) -> None:
        """Raise JobStoreUnavailable if the thread has died: every lease would run out, one after another."""
        if not self._thread.is_alive() and not self._closing.is_set():
            raise JobStoreUnavailable(
                "The thread that renews leases has died.", remedy="Start the worker again, and report its log."
            )

    def _run(self) -> None:
        failed = ""
        while not self._closing.wait(self._period):
            with self._lock:
                held = list(self._held - self._lost)
            with suppress(JobStoreUnavailable):  # the next round tries again; a lost lease cannot commit anyway
                for lease in held:
                    try:
                        self._renew(lease)
                    except JobStoreUnavailable:
                        raise
                    except Exception as error:  # noqa: BLE001 - one lease's trouble must not cost the others theirs
                        if str(error) != failed:
                            failed = str(error)
                            _log.exception("The lease of episode %s cannot be renewed", lease.spec.id)
                with suppress(RecordDamaged):
                    self._store.look()

    def _renew(self, lease: Lease) -> None:
        if not self._store.renew(lease):
            with self._lock:
                self._lost.add(lease)


class Slot:
    """A place for one environment, opened on first use and replaced after a fault."""

    def __init__(self, open_environment: Callable[[], Environment]) -> None:
        self._open = open_environment
        self._environment: Environment | None = None

    async def environment(self) -> Environment:
        """The environment; opening a simulator takes seconds. Raises EnvironmentFault when it does not start."""
        if self._environment is None:
            self._environment = await asyncio.to_thread(self._open)
        return self._environment

    async def discard(self) -> None:
        """Close it; the next use opens a fresh one."""
        environment, self._environment = self._environment, None
        if environment is not None:
            try:
                await asyncio.to_thread(environment.close)
            except (EnvironmentFault, OSError) as error:  # it is replaced anyway
                _log.warning("An environment did not close in order: %s", error)


class Worker:
    """Leases, plays and commits, in as many slots as it is given, until stopped.

    Three things end it, and whoever started it decides what then: a Redis that stays away for
    `redis_wait_seconds`, a service that refuses it, and environments of which none starts at the beginning, unless
    somebody killed them. Once it plays, an environment that does not start costs its episode alone.
    """

    def __init__(
        self,
        store: JobStore,
        controller: ControllerClient,
        executor: ExecutorClient,
        open_environment: Callable[[], Environment],
        provenance: Provenance,
        *,
        planner: Planner | None = None,
        metrics: WorkerMetrics | None = None,
        slots: int,
        lease_seconds: float,
        redis_wait_seconds: float,
        checkpoint_wait_seconds: float = CHECKPOINT_WAIT_SECONDS,
        play_host: PlayHost | None = None,
    ) -> None:
        self._store = store
        self._play_host = play_host
        self._controller = controller
        self._executor = executor
        self._planner = planner
        self._metrics = metrics or WorkerMetrics(slots)
        self._slots = [Slot(open_environment) for _ in range(slots)]
        self._keeper = LeaseKeeper(store, period=lease_seconds / RENEWALS_PER_LEASE)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._refusals = Refusals(self._consumer)
        self._checkpoint_wait = checkpoint_wait_seconds
        self._redis_wait = redis_wait_seconds
        self._floor = Floor()
        self._provenance = provenance
        self._services: tuple[ServiceInfo, ServiceInfo]
        self._not_started = 0
        """Slots whose environment did not start at the beginning, by its own fault."""
        self._stopping = False
        self._serving: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        """Lease nothing more and give back what is being played: at the end of its turn, or soon in midst of it."""
        self._stopping = True
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._cancel)

    async def run(self) -> None:
        """Work until stopped; every environment is closed when this returns or raises a WaymarkError."""
        hosted = self._play_host is not None
        threads = ThreadPoolExecutor(max_workers=3 * (len(self._slots) + hosted) + 1, thread_name_prefix="slot")
        asyncio.get_running_loop().set_default_executor(threads)
        to_thread.current_default_thread_limiter().total_tokens = len(self._slots) + hosted  # the loop's steps
        try:
            async with asyncio.TaskGroup() as group:
                for number, slot in enumerate(self._slots):
                    self._serving.append(group.create_task(self._serve(slot, f"{self._consumer}-{number}")))
                if self._play_host is not None:
                    group.create_task(self._host_while(list(self._serving)))
        except BaseExceptionGroup as errors:
            # Not `except*`: what that raises comes out wrapped in a group again on Python 3.11.2.
            known, unknown = errors.split(WaymarkError)
            if known is None or unknown is not None:
                raise
            raise known.exceptions[0] from None
        finally:
            await asyncio.gather(*(slot.discard() for slot in self._slots))
            self._keeper.close()

    async def _host_while(self, serving: list[asyncio.Task[None]]) -> None:
        """Host sessions of play along as long as any slot plays evaluations."""
        assert self._play_host is not None
        hosting = asyncio.create_task(self._play_host.run())
        try:
            await asyncio.wait(serving)
        finally:
            hosting.cancel()
            with suppress(asyncio.CancelledError):
                await hosting

    async def _warm_up(self, slot: Slot) -> None:
        """Open a slot's environment before its first episode. Raises EnvironmentFault where no slot's starts."""
        try:
            await slot.environment()
        except JavaMissing:
            raise
        except EnvironmentFault as error:
            self._not_started += not (isinstance(error, SimulatorNotStarted) and error.killed)
            if self._not_started == len(self._slots):
                raise
            _log.error("An environment did not start. The next episode tries again. %s", error)

    async def _serve(self, slot: Slot, consumer: str) -> None:
        await self._warm_up(slot)
        await self._until_services_answer()
        while not self._stopping:
            self._keeper.check()
            async with self._floor.shared():
                alone = await self._take(slot, consumer, alone=False)
            if alone:
                async with self._floor.alone():
                    await self._take(slot, consumer, alone=True)

    async def _take(self, slot: Slot, consumer: str, *, alone: bool) -> bool:
        """Lease an episode, if there is one, and settle it.

        True: it is to be played alone, and was given back so that it waits in the queue until this worker is quiet.
        """
        skip = self._refusals.current()
        lease = await self._redis(lambda: self._store.lease(consumer, wait_seconds=LEASE_WAIT_SECONDS, skip=skip))
        if lease is None:
            return False
        if lease.last and not alone:
            await self._redis(lambda: self._store.release(lease, counted=False))
            return True
        await self._hold(lease, slot)
        return False

    async def _hold(self, lease: Lease, slot: Slot) -> None:
        """Settle a lease while it is renewed; if something prevents that, give it back at once."""
        self._keeper.hold(lease)
        try:
            with self._metrics.playing():
                await self._settle(lease, slot)
        except RecordDamaged as error:
            # Given back, it would be leased again at once; so its lease runs out, and until then others are played.
            _log.error("The result of episode %s cannot be stored: %s", lease.spec.id, error)
        except BaseException as error:
            with suppress(JobStoreUnavailable):  # then it is abandoned, and found by others later
                self._store.release(lease, counted=not isinstance(error, asyncio.CancelledError))
            raise
        finally:
            self._keeper.drop(lease)

    async def _redis(self, call: Callable[[], _T]) -> _T:
        """Ask the job store in a thread, and again while Redis does not answer. Raises JobStoreUnavailable."""
        began = time.monotonic()
        while True:
            try:
                return await asyncio.to_thread(call)
            except JobStoreUnavailable as error:
                if self._stopping or time.monotonic() > began + self._redis_wait:
                    raise
                _log.warning("Asking again for %.0f s: %s", began + self._redis_wait - time.monotonic(), error)
            await asyncio.sleep(REDIS_WAIT_SECONDS * random.uniform(0.5, 1.5))

    def _cancel(self) -> None:
        for task in self._serving:
            task.cancel()

    async def _settle(self, lease: Lease, slot: Slot) -> None:
        """Play a leased episode and commit it, or give it back."""
        if self._stopping:
            await self._redis(lambda: self._store.release(lease, counted=False))
            return
        if lease.exhausted:
            await self._redis(lambda: self._store.bury(lease, _abandoned(lease.spec)))
            return
        versions = await self._versions(lease.spec)
        if versions is None:
            await self._redis(lambda: self._store.release(lease, counted=False))
            return
        with tracing.span("episode", task=lease.spec.task, variation=lease.spec.variation, episode=lease.spec.id):
            result = await self._play(lease, slot, versions)
        if result.stopped == "cancelled" or (result.error and result.error.kind == WrongCheckpoint.__name__):
            await self._redis(lambda: self._store.release(lease, counted=False))
        elif result.error and result.error.kind in RETRYABLE - {EnvironmentFault.__name__}:
            self._metrics.retried("service")
            await self._redis(lambda: self._store.release(lease, counted=True))
            await self._until_services_answer()
        else:
            await self._commit(lease, result)

    async def _commit(self, lease: Lease, result: EpisodeResult) -> None:
        try:
            if await self._redis(lambda: self._store.commit(lease, result)):
                self._metrics.committed(result)
            else:
                _log.warning("The result of episode %s was dropped: its lease was lost, or it has one.", lease.spec.id)
        except WrongCheckpoint as error:
            _log.error("The result of episode %s was refused: %s", lease.spec.id, error)
            await self._redis(lambda: self._store.release(lease, counted=False))

    async def _play(self, lease: Lease, slot: Slot, versions: Versions) -> EpisodeResult:
        """Play an episode; once more in a fresh environment when the first one faults."""

        def should_stop() -> bool:
            return self._stopping or self._keeper.lost(lease)

        spec = lease.spec
        for _ in range(2):
            gate = Gate(
                versions,
                episode=spec.id,
                worker=self._consumer,
                report=partial(self._report, spec.evaluation),
                should_stop=should_stop,
                wait_seconds=self._checkpoint_wait,
            )
            try:
                environment = await slot.environment()
            except EnvironmentFault as error:
                _log.error("Episode %s cannot be played: %s", spec.id, error)
                result = _unplayed(spec, error)
                break
            result = await run_episode(
                spec,
                environment,
                CheckedController(self._controller, gate, versions),
                CheckedExecutor(self._executor, gate),
                planner=self._planner,
                should_stop=should_stop,
                reach=RequestLimits.of(self._services),
            )
            if result.error is None or result.error.kind != EnvironmentFault.__name__:
                break
            self._metrics.retried("environment")
            await slot.discard()
        if gate.unnamed and await self._versions(spec) is None:
            return result.model_copy(update={"stopped": "cancelled"})
        return result.model_copy(update={"versions": versions, "checkpoints": gate.made_by})

    async def _versions(self, spec: EpisodeSpec) -> Versions | None:
        """What an episode would be played with now; None where that is not what its evaluation was submitted for.

        The evaluation is then left to other workers for a while.
        """
        await self._until_services_answer()
        try:
            evaluation = await self._redis(lambda: self._store.evaluation(spec.evaluation))
            versions = self._provenance.versions(spec.agent, *self._services)
            found = differences(evaluation.versions, versions)
        except (NotFound, RecordDamaged) as error:
            found = [Difference("evaluation", spec.evaluation, error.message)]
        except InvalidInput as error:
            found = [Difference((error.field or "").removeprefix("agent."), "what its agent asks", error.message)]
        if found:
            await self._report(spec.evaluation, self._refusals.add(spec.evaluation, found[0]))
            return None
        if self._refusals.remove(spec.evaluation):
            await self._report(spec.evaluation, None)
        return versions

    async def _report(self, evaluation: str, mismatch: CheckpointMismatch | None) -> None:
        """Say in an evaluation's status why it is not played here; while Redis is gone, the log alone says it."""
        with suppress(JobStoreUnavailable):
            await asyncio.to_thread(self._store.report_waiting, evaluation, mismatch)

    async def _until_services_answer(self) -> None:
        while not self._stopping:
            try:
                self._services = (await self._controller.info(), await self._executor.info())
            except ServiceRejected:
                raise
            except ServiceError as error:
                _log.warning("Waiting for the services: %s", error)
                await asyncio.sleep(SERVICE_WAIT_SECONDS)
            else:
                return


def _abandoned(spec: EpisodeSpec) -> EpisodeResult:
    """The result of an episode that was handed out too often."""
    return _unplayed(
        spec,
        EpisodeAbandoned(
            f"The episode was handed out {MAX_DELIVERIES} times and never finished.",
            remedy="Read the worker's log; its process died, or the services did not answer.",
        ),
    )


def _unplayed(spec: EpisodeSpec, error: WaymarkError) -> EpisodeResult:
    """The result of an episode of which no step was played."""
    return EpisodeResult(
        id=spec.id,
        evaluation=spec.evaluation,
        task=spec.task,
        variation=spec.variation,
        repeat=spec.repeat,
        seed=spec.seed,
        score=0,
        raw_score=0,
        last_nonnegative_score=0,
        success=False,
        moves=0,
        actions=0,
        turns=0,
        model_calls=0,
        repaired=0,
        stopped="error",
        error=EpisodeError(kind=error.kind, message=str(error)),
        seconds=0.0,
        agent=spec.agent,
    )


@asynccontextmanager
async def _open_planner(settings: Settings) -> AsyncIterator[ChatClient | None]:
    """The large model that plans episodes, if one is named."""
    if settings.planner is None:
        yield None
        return
    limits = Limits(concurrency=settings.slots, attempts=PLANNER_ATTEMPTS, timeout=settings.planner_timeout_seconds)
    async with ChatClient(settings.planner, limits) as planner:
        yield planner


def _play_host(
    settings: Settings,
    store: JobStore,
    controller: ControllerClient,
    executor: ExecutorClient,
    open_environment: Callable[[], Environment],
) -> PlayHost | None:
    if not settings.play_sessions:
        return None
    queue = PlayQueue(settings.redis)
    return PlayHost(queue, store, controller, executor, open_environment, Provenance.here(settings))


def run(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Serve until the process is told to end, on the faster event loop."""
    uvloop.run(serve(settings, open_environment))


async def serve(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    store = JobStore(settings.redis, lease_seconds=settings.lease_seconds)
    store.check_version()
    metrics = WorkerMetrics(settings.slots)
    metrics.listen(settings.host, settings.metrics_port)
    async with (
        ControllerClient(settings.controller_url, transport=AiohttpTransport()) as controller,
        ExecutorClient(settings.executor_url, transport=AiohttpTransport()) as executor,
        _open_planner(settings) as planner,
    ):
        worker = Worker(
            store,
            controller,
            executor,
            open_environment,
            Provenance.here(settings),
            planner=planner,
            metrics=metrics,
            slots=settings.slots,
            lease_seconds=settings.lease_seconds,
            redis_wait_seconds=settings.redis_wait_seconds,
            checkpoint_wait_seconds=settings.checkpoint_wait_seconds,
            play_host=_play_host(settings, store, controller, executor, open_environment),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
    store.close()
