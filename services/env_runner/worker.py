"""Plays episodes: a pool of simulator slots in one event loop, fed by leases from Redis.

Each slot holds one environment and plays one episode at a time; environments block and run in threads, so one
slot's loading hides behind another's play. A thread of its own renews the leases, whatever the loop is doing,
and learns from Redis which are lost or cancelled. A fault of the simulator costs its slot, not the worker: the
episode is played once more in a fresh one. When a service cannot be reached, the episode goes back to the queue.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from services.env_runner.environments import open_environment
from services.env_runner.jobs import MAX_DELIVERIES, JobStore, Lease
from services.env_runner.provenance import Provenance
from services.env_runner.settings import Settings
from waymark.client import ControllerClient, ExecutorClient
from waymark.contracts import EpisodeError, EpisodeResult, EpisodeSpec, ServiceInfo, Versions
from waymark.environment import Environment
from waymark.episode import RETRYABLE, run_episode
from waymark.errors import (
    EnvironmentFault,
    EpisodeAbandoned,
    InvalidInput,
    JobStoreUnavailable,
    ServiceError,
    WaymarkError,
)
from waymark.serving import tracing

LEASE_WAIT_SECONDS = 1.0
SERVICE_WAIT_SECONDS = 0.5
STOP_SECONDS = 2.0
"""How long a turn may still take once the worker is to stop."""
RENEWALS_PER_LEASE = 10
"""How often a lease is renewed within its period; also bounds how late a cancellation is noticed."""


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


class Worker:
    """Leases, plays and commits, in as many slots as it is given, until stopped.

    A JobStoreUnavailable ends it, and so does an environment that does not start: whoever started the worker
    decides what then.
    """

    def __init__(
        self,
        store: JobStore,
        controller: ControllerClient,
        executor: ExecutorClient,
        open_environment: Callable[[], Environment],
        provenance: Provenance,
        *,
        slots: int,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._controller = controller
        self._executor = executor
        self._slots = [Slot(open_environment) for _ in range(slots)]
        self._keeper = LeaseKeeper(store, period=lease_seconds / RENEWALS_PER_LEASE)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
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
        try:
            async with asyncio.TaskGroup() as group:
                self._serving = [group.create_task(self._serve(slot)) for slot in self._slots]
        except BaseExceptionGroup as errors:
            # Not `except*`: what that raises comes out wrapped in a group again on Python 3.11.2.
            known, unknown = errors.split(WaymarkError)
            if known is None or unknown is not None:
                raise
            raise known.exceptions[0] from None
        finally:
            await asyncio.gather(*(slot.discard() for slot in self._slots))
            self._keeper.close()

    async def _serve(self, slot: Slot) -> None:
        await slot.environment()
        await self._until_services_answer()
        while not self._stopping:
            lease = await asyncio.to_thread(self._store.lease, self._consumer, wait_seconds=LEASE_WAIT_SECONDS)
            if lease is None:
                continue
            self._keeper.hold(lease)
            try:
                await self._settle(lease, slot)
            except asyncio.CancelledError:
                self._store.release(lease, counted=False)
                raise
            finally:
                self._keeper.drop(lease)

    def _cancel(self) -> None:
        for task in self._serving:
            task.cancel()

    async def _settle(self, lease: Lease, slot: Slot) -> None:
        """Play a leased episode and commit it, or give it back."""
        if self._stopping:
            await asyncio.to_thread(self._store.release, lease, counted=False)
            return
        if lease.exhausted:
            await asyncio.to_thread(self._store.bury, lease, _abandoned(lease.spec))
            return
        with tracing.span("episode", task=lease.spec.task, variation=lease.spec.variation, episode=lease.spec.id):
            result = await self._play(lease, slot)
        if result.stopped == "cancelled":
            await asyncio.to_thread(self._store.release, lease, counted=False)
        elif result.error and result.error.kind in RETRYABLE - {EnvironmentFault.__name__}:
            await asyncio.to_thread(self._store.release, lease, counted=True)
            await self._until_services_answer()
        else:
            await asyncio.to_thread(self._store.commit, lease, result)

    async def _play(self, lease: Lease, slot: Slot) -> EpisodeResult:
        """Play an episode; once more in a fresh environment when the first one faults."""
        for _ in range(2):
            result = await run_episode(
                lease.spec,
                await slot.environment(),
                self._controller,
                self._executor,
                should_stop=lambda: self._stopping or self._keeper.lost(lease),
                history_turns=max(info.history_turns for info in self._services),
            )
            if result.error is None or result.error.kind != EnvironmentFault.__name__:
                break
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
            except ServiceError:
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


async def serve(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    store = JobStore(settings.redis_url, lease_seconds=settings.lease_seconds)
    async with (
        ControllerClient(settings.controller_url) as controller,
        ExecutorClient(settings.executor_url) as executor,
    ):
        worker = Worker(
            store,
            controller,
            executor,
            lambda: open_environment(settings.environment),
            Provenance.here(settings.environment),
            slots=settings.slots,
            lease_seconds=settings.lease_seconds,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
    store.close()
