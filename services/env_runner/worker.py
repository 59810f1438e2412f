"""Plays episodes: a pool of simulator slots in one event loop, fed by leases from Redis.

Each slot holds one environment and plays one episode at a time; environments block and run in threads, so one
slot's loading hides behind another's play. A thread of its own renews the leases, whatever the loop is doing,
and learns from Redis which are lost or cancelled. A fault of the simulator costs its slot, not the worker: the
episode is played once more in a fresh one. When a service cannot be reached, the episode goes back to the queue.
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
from typing import TypeVar

import uvloop
from anyio import to_thread

from services.env_runner.jobs import MAX_DELIVERIES, JobStore, Lease
from services.env_runner.metrics import WorkerMetrics
from services.env_runner.provenance import Provenance
from services.env_runner.settings import Settings
from waymark.chat import ChatClient, Limits
from waymark.client import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeError, EpisodeResult, EpisodeSpec, ServiceInfo, Versions
from waymark.environment import Environment
from waymark.episode import RETRYABLE, Reach, run_episode
from waymark.errors import (
    EnvironmentFault,
    EpisodeAbandoned,
    InvalidInput,
    JobStoreUnavailable,
    ServiceError,
    ServiceRejected,
    WaymarkError,
)
from waymark.serving import tracing
from waymark.subgoal_sources.llm_plan import Planner
from waymark.transport import AiohttpTransport

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

    def _run(self) -> None:
        while not self._closing.wait(self._period):
            with self._lock:
                held = list(self._held - self._lost)
            for lease in held:
                try:
                    renewed = self._store.renew(lease)
                except JobStoreUnavailable:
                    break  # the next round tries again; a commit through a lost lease is refused anyway
                if not renewed:
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
            await asyncio.to_thread(environment.close)


class Floor:
    """Where episodes play side by side, or one alone."""

    def __init__(self) -> None:
        self._sharing = 0
        self._reserved = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """A place beside others, as soon as nobody wants it alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._reserved)
            self._sharing += 1
        try:
            yield
        finally:
            async with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The whole of it, as soon as those who share it have left."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._reserved)
            self._reserved = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._sharing)
            yield
        finally:
            async with self._changed:
                self._reserved = False
                self._changed.notify_all()


class Worker:
    """Leases, plays and commits, in as many slots as it is given, until stopped.

    Three things end it, and whoever started it decides what then: a Redis that stays away for
    `redis_wait_seconds`, an environment that does not start, and a service that refuses it.
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
    ) -> None:
        self._store = store
        self._controller = controller
        self._executor = executor
        self._planner = planner
        self._metrics = metrics or WorkerMetrics(slots)
        self._slots = [Slot(open_environment) for _ in range(slots)]
        self._keeper = LeaseKeeper(store, period=lease_seconds / RENEWALS_PER_LEASE)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._redis_wait = redis_wait_seconds
        self._floor = Floor()
        self._provenance = provenance
        self._services: tuple[ServiceInfo, ServiceInfo]
        self._stopping = False
        self._serving: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        """Lease nothing more and give back what is being played: at the end of its turn, or soon in midst of it."""
        self._stopping = True
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._cancel)

    async def run(self) -> None:
        """Work until stopped; every environment is closed when this returns or raises a WaymarkError."""
        threads = ThreadPoolExecutor(max_workers=3 * len(self._slots) + 1, thread_name_prefix="slot")
        asyncio.get_running_loop().set_default_executor(threads)
        to_thread.current_default_thread_limiter().total_tokens = len(self._slots)  # the loop's steps
        try:
            async with asyncio.TaskGroup() as group:
                for number, slot in enumerate(self._slots):
                    self._serving.append(group.create_task(self._serve(slot, f"{self._consumer}-{number}")))
        except BaseExceptionGroup as errors:
            # Not `except*`: what that raises comes out wrapped in a group again on Python 3.11.2.
            known, unknown = errors.split(WaymarkError)
            if known is None or unknown is not None:
                raise
            raise known.exceptions[0] from None
        finally:
            await asyncio.gather(*(slot.discard() for slot in self._slots))
            self._keeper.close()

    async def _serve(self, slot: Slot, consumer: str) -> None:
        await slot.environment()
        await self._until_services_answer()
        while not self._stopping:
            async with self._floor.shared():
                alone = await self._take(slot, consumer, alone=False)
            if alone:
                async with self._floor.alone():
                    await self._take(slot, consumer, alone=True)

    async def _take(self, slot: Slot, consumer: str, *, alone: bool) -> bool:
        """Lease an episode, if there is one, and settle it.

        True: it is to be played alone, and was given back so that it waits in the queue until this worker is quiet.
        """
        lease = await self._redis(lambda: self._store.lease(consumer, wait_seconds=LEASE_WAIT_SECONDS))
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
        with tracing.span("episode", task=lease.spec.task, variation=lease.spec.variation, episode=lease.spec.id):
            result = await self._play(lease, slot)
        if result.stopped == "cancelled":
            await self._redis(lambda: self._store.release(lease, counted=False))
        elif result.error and result.error.kind in RETRYABLE - {EnvironmentFault.__name__}:
            self._metrics.retried("service")
            await self._redis(lambda: self._store.release(lease, counted=True))
            await self._until_services_answer()
        elif await self._redis(lambda: self._store.commit(lease, result)):
            self._metrics.committed(result)
        else:
            _log.warning("The result of episode %s was dropped: its lease was lost, or it has one.", lease.spec.id)

    async def _play(self, lease: Lease, slot: Slot) -> EpisodeResult:
        """Play an episode; once more in a fresh environment when the first one faults."""
        for _ in range(2):
            result = await run_episode(
                lease.spec,
                await slot.environment(),
                self._controller,
                self._executor,
                planner=self._planner,
                should_stop=lambda: self._stopping or self._keeper.lost(lease),
                reach=Reach.of(self._services),
            )
            if result.error is None or result.error.kind != EnvironmentFault.__name__:
                break
            self._metrics.retried("environment")
            await slot.discard()
        return result.model_copy(update={"versions": self._versions(lease.spec)})

    def _versions(self, spec: EpisodeSpec) -> Versions | None:
        """What an episode is played with; None where the services no longer have its checkpoints."""
        with suppress(InvalidInput):
            return self._provenance.versions(spec.agent, *self._services)
        return None

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
    error = EpisodeAbandoned(
        f"The episode was handed out {MAX_DELIVERIES} times and never finished.",
        remedy="Read the worker's log; its process died, or the services did not answer.",
    )
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


def run(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Serve until the process is told to end, on the faster event loop."""
    uvloop.run(serve(settings, open_environment))


async def serve(settings: Settings, open_environment: Callable[[], Environment]) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    store = JobStore(settings.redis_url, lease_seconds=settings.lease_seconds)
    store.ping()
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
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
    store.close()
