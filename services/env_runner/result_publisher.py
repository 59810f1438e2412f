"""Writes commits to disk before they are sent as events, so every result that was sent survives the death of a process.

Two background tasks do that: `writer` follows the commits, `reconciler` enqueues episodes that were lost.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from services.env_runner.progress_follower import FOLLOW_SECONDS, Follower
from services.env_runner.queue import JobStore
from services.env_runner.result_writer import ResultKeeper
from services.env_runner.set_aside_evaluations import SetAsides
from waymark.contracts.health import RunnerHealth, SetAside
from waymark.errors import JobStoreUnavailable, WaymarkError
from waymark.evaluation.run_folder import Evaluation
from waymark.serving.background_tasks import Beat, Supervisor

_log = logging.getLogger(__name__)


class ResultPublisher:
    """The run folders of all evaluations, behind one lock, and their progress for `event_streams`.

    Lost episodes are searched every `reconcile_seconds`, and `retry_seconds` after Redis did not answer. A task that
    waits longer reports every `beat_seconds` that it is alive.
    """

    def __init__(
        self,
        store: JobStore,
        keeper: ResultKeeper,
        *,
        reconcile_seconds: float,
        retry_seconds: float = 1.0,
        beat_seconds: float = 10.0,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._reconcile_seconds = reconcile_seconds
        self._retry_seconds = retry_seconds
        self._beat_seconds = beat_seconds
        self._writing = asyncio.Lock()
        self._unplayable = SetAsides("played")
        self._waits = ""
        """What Redis said when it last failed, as it was logged."""
        self.unwritten = False
        """Whether results may be in Redis alone: from `start` until `stop` has written the last one."""
        self.follower = Follower(store, self._write_evaluation, FOLLOW_SECONDS)
        self.tasks = Supervisor()
        self.tasks.add("writer", self._keep_writing)
        self.tasks.add("reconciler", self._keep_reconciling)

    def start(self) -> None:
        """Begin the background tasks."""
        self.unwritten = True
        self.tasks.start()

    async def stop(self) -> None:
        """End the background tasks and write once more, also what was set aside."""
        await self.tasks.stop()
        try:
            async with self._writing:
                await asyncio.to_thread(self._keeper.catch_up, final=True)
            self.unwritten = self._keeper.unwritten
        except WaymarkError as error:
            _log.error("Results may be missing on disk: %s", error)
        except Exception:  # noqa: BLE001 - whatever it is, the service has to end, and to end as not written
            _log.exception("Results may be missing on disk")

    def health(self) -> RunnerHealth:
        """The health of tasks, evaluations and the runs folder, from memory: no request is made."""
        tasks = self.tasks.report()
        written = self._keeper.set_aside.report()
        known = {case.evaluation for case in written}
        aside: tuple[SetAside, ...] = (
            *written,
            *(case for case in self._unplayable.report() if case.evaluation not in known),
        )
        runs = self._keeper.runs_problem
        well = not aside and runs is None and all(task.state == "running" for task in tasks)
        return RunnerHealth(status="ok" if well else "degraded", tasks=tasks, set_aside=aside, runs=runs)

    # --- evaluations -----------------------------------------------------------------------------------------

    async def lost(self, evaluation_id: str) -> Evaluation | None:
        """See `ResultKeeper.lost`."""
        async with self._writing:
            return await asyncio.to_thread(self._keeper.lost, evaluation_id)

    async def restore(self, evaluation_id: str) -> None:
        """See `ResultKeeper.restore`."""
        async with self._writing:
            await asyncio.to_thread(self._keeper.restore, evaluation_id)

    async def prepare(self, evaluation: Evaluation) -> None:
        """Make the folder of an evaluation that Redis knows already. Raises StorageUnavailable, InvalidInput."""
        async with self._writing:
            await asyncio.to_thread(self._keeper.prepare, evaluation)

    async def prepare_new(self, evaluation: Evaluation) -> None:
        """The same for an evaluation that is not enqueued yet. Nobody writes to its folder, so this does not wait for
        the writing of other results.
        """
        await asyncio.to_thread(self._keeper.prepare, evaluation)

    async def discard(self, evaluation_id: str) -> None:
        """Remove the empty folder of an evaluation whose enqueuing failed. Nobody writes there."""
        await asyncio.to_thread(self._keeper.discard, evaluation_id)

    async def follow(self, evaluation_id: str) -> None:
        """Write this evaluation's results from now on."""
        async with self._writing:
            await asyncio.to_thread(self._keeper.follow, evaluation_id)

    # --- background tasks ------------------------------------------------------------------------------------

    async def _keep_writing(self, beat: Beat) -> None:
        while not self.tasks.stopping.is_set():
            goes_on = await self._write(beat) and bool(self._keeper.behind)
            await self.tasks.sleep(0 if goes_on else FOLLOW_SECONDS)

    async def _keep_reconciling(self, beat: Beat) -> None:
        loop = asyncio.get_running_loop()
        while not self.tasks.stopping.is_set():
            answered = False
            with suppress(JobStoreUnavailable):  # readiness tells of it, and the writer's log
                await asyncio.to_thread(self._reconcile)
                answered = True
            due = loop.time() + (self._reconcile_seconds if answered else self._retry_seconds)
            while not self.tasks.stopping.is_set() and (left := due - loop.time()) > 0:
                if answered:
                    beat()  # it waits, and is well
                await self.tasks.sleep(min(left, self._beat_seconds))

    def _reconcile(self) -> None:
        reported: set[str] = set()

        def report(evaluation_id: str, error: WaymarkError) -> None:
            reported.add(evaluation_id)
            self._unplayable.put(evaluation_id, error)

        self._store.reconcile(report)
        self._unplayable.keep_only(reported)

    async def _write_evaluation(self, evaluation_id: str) -> None:
        """Write what was committed of one evaluation."""
        while await self._write(only=evaluation_id) and evaluation_id in self._keeper.behind:
            pass

    async def _write(self, beat: Beat = lambda: None, *, only: str | None = None) -> bool:
        """Write commits for one call's time. If Redis does not answer, log it once and return False."""
        try:
            async with self._writing:
                await asyncio.to_thread(self._keeper.catch_up, only=only, beat=beat)
        except JobStoreUnavailable as error:
            if error.message != self._waits:
                self._waits = error.message
                _log.error("Results wait to be written: %s", error)
            return False
        if self._waits:
            _log.warning("Results are written again.")
            self._waits = ""
        return True
