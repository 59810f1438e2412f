"""Plays episodes: a pool of simulator slots in one event loop, which gets episodes by leases from Redis.

Each slot holds one environment and plays one episode at a time; environments block and run in threads, so one
slot's loading hides behind another's play. A thread of its own renews the leases, whatever the loop is doing,
and learns from Redis which are lost or cancelled. A fault of the simulator costs its slot, not the worker: the
episode is played once more in a fresh one. When a service cannot be reached, the episode goes back to the queue.
Before each episode, and at every decision, the checkpoints are held to those that its evaluation was submitted for
(`checkpoint_identity`).
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
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from anyio import to_thread

from services.env_runner.checkpoint_gate import (
    CHECKPOINT_WAIT_SECONDS,
    CheckedController,
    CheckedExecutor,
    Gate,
    Refusals,
)
from services.env_runner.play_along_host import PlayHost
from services.env_runner.provenance import Provenance
from services.env_runner.queue import MAX_DELIVERIES, JobStore, Lease
from services.env_runner.worker.environment_slot import Slot
from services.env_runner.worker.lease_keeper import RENEWALS_PER_LEASE, LeaseKeeper
from services.env_runner.worker.shared_lock import SharedLock
from services.env_runner.worker_metrics import WorkerMetrics
from waymark.agent.episode_loop import RETRYABLE, run_episode
from waymark.agent.model_ports import RequestLimits
from waymark.agent.subgoal_sources.llm_plan import Planner
from waymark.clients.services import ControllerClient, ExecutorClient
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
    EpisodeFailed,
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
from waymark.evaluation.checkpoint_identity import Difference, differences
from waymark.serving.printable_text import printable
from waymark.serving.telemetry import tracing
from waymark.worlds.base import Environment
from waymark.worlds.registry import world_of

LEASE_WAIT_SECONDS = 1.0
SERVICE_WAIT_SECONDS = 0.5
REDIS_WAIT_SECONDS = 0.5
"""Between two attempts, give or take a half."""
STOP_SECONDS = 2.0
"""How long a turn may still take once the worker is to stop."""

_LONGEST_MESSAGE = 500
"""Characters of an unexpected error that its result quotes."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


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
        self._play_lock = SharedLock()
        self._provenance = provenance
        self._services: tuple[ServiceInfo, ServiceInfo]
        self._not_started = 0
        """Slots whose environment did not start at the beginning, by its own fault."""
        self._damage = ""
        """What kept episodes from being leased last, as it was logged."""
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
            async with self._play_lock.shared():
                alone = await self._take(slot, consumer, alone=False)
            if alone:
                async with self._play_lock.alone():
                    await self._take(slot, consumer, alone=True)

    async def _take(self, slot: Slot, consumer: str, *, alone: bool) -> bool:
        """Lease an episode, if there is one, and settle it.

        True: it is to be played alone, and was given back so that it waits in the queue until this worker is quiet.
        """
        skip = self._refusals.current()
        try:
            lease = await self._redis(lambda: self._store.lease(consumer, wait_seconds=LEASE_WAIT_SECONDS, skip=skip))
            if lease is None:
                return False
            if lease.last and not alone:
                await self._redis(lambda: self._store.release(lease, counted=False))
                return True
        except RecordDamaged as error:  # a key that all evaluations share is damaged: a person has to repair it
            if error.message != self._damage:
                self._damage = error.message
                _log.error("No episode can be leased: %s", error)
            await asyncio.sleep(LEASE_WAIT_SECONDS)
            return False
        await self._hold(lease, slot)
        return False

    async def _hold(self, lease: Lease, slot: Slot) -> None:
        """Settle a lease while it is renewed; if something prevents that, give it back at once."""
        self._keeper.hold(lease)
        try:
            with self._metrics.playing():
                await self._settle(lease, slot)
        except RecordDamaged as error:
            # Not given back, because it would be leased again at once. Until its lease expires, others are played.
            _log.error("The result of episode %s cannot be stored: %s", lease.spec.id, error)
        except BaseException as error:
            with suppress(JobStoreUnavailable, RecordDamaged):  # then it is abandoned, and found by others later
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
                others_wait=partial(self._others_wait, spec.evaluation),
            )
            try:
                environment = await slot.environment()
            except EnvironmentFault as error:
                _log.error("Episode %s cannot be played: %s", spec.id, error)
                result = _unplayed(spec, error)
                break
            try:
                result = await run_episode(
                    spec,
                    environment,
                    CheckedController(self._controller, gate, versions),
                    CheckedExecutor(self._executor, gate),
                    planner=self._planner,
                    should_stop=should_stop,
                    request_limits=RequestLimits.of(self._services),
                    world=world_of(versions.environment).agent,
                )
            except WaymarkError:
                raise
            except Exception as error:  # noqa: BLE001 - a mistake that one episode meets must not stop the others
                _log.exception("Episode %s failed", spec.id)
                await slot.discard()
                result = _unplayed(spec, _failed(error))
                break
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
            changes = differences(evaluation.versions, versions)
        except (NotFound, RecordDamaged) as error:
            changes = [Difference("evaluation", spec.evaluation, error.message)]
        except InvalidInput as error:
            changes = [Difference((error.field or "").removeprefix("agent."), "what its agent asks", error.message)]
        if changes:
            await self._report(spec.evaluation, self._refusals.add(spec.evaluation, changes[0]))
            return None
        if self._refusals.remove(spec.evaluation):
            await self._report(spec.evaluation, None)
        return versions

    async def _report(self, evaluation: str, mismatch: CheckpointMismatch | None) -> None:
        """Say in an evaluation's status why it is not played here; while Redis is gone, the log alone says it."""
        with suppress(JobStoreUnavailable):
            await asyncio.to_thread(self._store.report_waiting, evaluation, mismatch)

    async def _others_wait(self, evaluation: str) -> bool:
        """Whether another evaluation that may be played here has an episode that nobody plays."""
        try:
            return await asyncio.to_thread(self._store.others_wait, {evaluation, *self._refusals.known()})
        except (JobStoreUnavailable, RecordDamaged):
            return False

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
    return _unplayed(spec, error)


def _failed(error: Exception) -> EpisodeFailed:
    """What a result says of an error that nobody expected."""
    return EpisodeFailed(
        f"{type(error).__name__}: {printable(str(error), _LONGEST_MESSAGE)}",
        remedy="The worker's log has the traceback; please report it.",
    )


def _unplayed(spec: EpisodeSpec, error: WaymarkError) -> EpisodeResult:
    return EpisodeResult.of(spec, "error", error=EpisodeError(kind=error.kind, message=str(error)))
