"""The job store: evaluations, their episodes and results in one Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from services.env_runner.queue.keys import ACTIVE, DEAD, EVALUATION, EVALUATIONS, GROUP, SUBMISSIONS, Keys
from services.env_runner.queue.lease import Lease
from services.env_runner.queue.reading import PAGE, JobReader
from services.env_runner.queue.records import milliseconds, pack
from services.env_runner.queue.scripts import script
from waymark.contracts import EpisodeResult, EpisodeSpec
from waymark.runs import Evaluation

_Arguments = list[str | bytes | int]
"""Of a script."""
_RELEASED_MS = 24 * 3_600_000
"""Idle time given to a released entry: abandoned by any measure, so that the next lease takes it at once."""
_POLL_SECONDS = 0.1
"""How often a waiting `lease` looks."""


class JobStore(JobReader):
    """Evaluations, their episodes and results, in one Redis. Every method may raise JobStoreUnavailable.

    `url` is `redis://`, `rediss://` or `unix://`. A lease that is not renewed for `lease_seconds` is another's
    for the taking.
    """

    def __init__(self, url: str, *, lease_seconds: float = 30.0) -> None:
        super().__init__(url)
        self._lease_ms = round(lease_seconds * 1000)
        self._submit = self._redis.register_script(script("submit"))
        self._enqueue = self._redis.register_script(script("enqueue"))
        self._lease = self._redis.register_script(script("lease"))
        self._renew = self._redis.register_script(script("renew", "holds"))
        self._release = self._redis.register_script(script("release", "holds"))
        self._commit = self._redis.register_script(script("commit", "holds"))
        self._take_back = self._redis.register_script(script("take_back"))
        self._cancel = self._redis.register_script(script("cancel"))

    # --- evaluations ---------------------------------------------------------------------------------------

    def submit(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], *, key: str | None = None) -> str:
        """Write the manifest, whole or not at all, then enqueue it; returns the id that the evaluation goes by.

        That is its own, or the id of the evaluation that was submitted under the same idempotency `key` before.
        A second call with the same id or key does nothing new.
        """
        keys = Keys(evaluation.id)
        created = milliseconds(evaluation.created)
        manifest = [text for spec in specs for text in (spec.id, spec.model_dump_json())]
        with self._seam():
            name: str = self._submit(
                keys=[SUBMISSIONS, EVALUATIONS, keys.evaluation, keys.manifest, keys.specs],
                args=[evaluation.id, key or "", evaluation.model_dump_json(), created, *manifest],
            )
        self.enqueue(name)
        return name

    def restore(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], results: Iterable[EpisodeResult]) -> None:
        """Take in an evaluation that this Redis does not know with the results that it has, whole or not at all.

        `resume` then plays the rest. One caller at a time.
        """
        keys = Keys(evaluation.id)
        counters: Counter[str] = Counter(finished=0, errored=0, score_sum=0)
        with self._seam(), self._bytes.pipeline(transaction=False) as batch:
            batch.delete(keys.results, keys.trajectories, keys.events)  # of an attempt that was interrupted
            for result in results:
                light, full = pack(result)
                batch.hset(keys.results, result.id, light)
                batch.hset(keys.trajectories, result.id, full)
                batch.xadd(keys.events, {"result": light})
                counters.update(finished=1, errored=int(result.error is not None), score_sum=result.score)
                if len(batch) >= PAGE:
                    batch.execute()
            batch.execute()
        with self._seam(), self._redis.pipeline(transaction=True) as batch:
            batch.hset(keys.evaluation, mapping=counters)
            batch.hset(keys.evaluation, "evaluation", evaluation.model_dump_json())
            batch.zadd(EVALUATIONS, {evaluation.id: milliseconds(evaluation.created)})
            batch.rpush(keys.manifest, *(spec.id for spec in specs))
            batch.hset(keys.specs, mapping={spec.id: spec.model_dump_json() for spec in specs})
            batch.execute()

    def submitted(self, key: str) -> str | None:
        """The id of the evaluation that was submitted under this idempotency key, if any."""
        with self._seam():
            name: str | None = self._redis.hget(SUBMISSIONS, key)
        return name

    def enqueue(self, evaluation_id: str) -> int:
        """Enqueue every episode that has no result and is not in the queue; returns how many. Idempotent."""
        keys = Keys(evaluation_id)
        with self._seam():
            added: int = self._enqueue(
                keys=[ACTIVE, keys.evaluation, keys.manifest, keys.results, keys.queue], args=[evaluation_id, GROUP]
            )
        return added

    def reconcile(self) -> int:
        """Enqueue the gaps of all evaluations that are neither cancelled nor finished; returns how many there were.

        What is not finished is in the queue: where their counts agree, nothing is read.
        """
        with self._seam():
            active = set(self._redis.lrange(ACTIVE, 0, -1))
            unfinished = [one for one in self.statuses() if one.state in {"queued", "running"}]
            with self._redis.pipeline(transaction=False) as batch:
                for status in unfinished:
                    batch.xlen(Keys(status.id).queue)
                queued = batch.execute()
        return sum(
            self.enqueue(status.id)
            for status, length in zip(unfinished, queued, strict=True)
            if length != status.episodes - status.finished or status.id not in active
        )

    def cancel(self, evaluation_id: str) -> None:
        """Take an evaluation's queue away; episodes being played lose their lease. Raises NotFound."""
        self.evaluation(evaluation_id)
        keys = Keys(evaluation_id)
        with self._seam():
            self._cancel(keys=[ACTIVE, keys.evaluation, keys.queue], args=[evaluation_id])

    def resume(self, evaluation_id: str, *, errored: bool = False) -> int:
        """Take back a cancellation and enqueue what has no result; returns how many. Raises NotFound.

        `errored`: play also those again that errored. Their results and events are taken back first, so who
        follows the events is told of such an episode a second time.
        """
        self.evaluation(evaluation_id)
        keys = Keys(evaluation_id)
        if errored:
            for events in self._pages(evaluation_id):
                failed = [(one.result.id, one.cursor) for one in events if one.result.error is not None]
                if failed:
                    with self._seam():
                        self._take_back(
                            keys=[keys.evaluation, keys.results, keys.trajectories, keys.events],
                            args=[text for pair in failed for text in pair],
                        )
        with self._seam():
            self._redis.hdel(keys.evaluation, "cancelled")
        return self.enqueue(evaluation_id)

    # --- playing -------------------------------------------------------------------------------------------

    def lease(self, consumer: str, *, wait_seconds: float) -> Lease | None:
        """One episode to play, of the evaluation whose turn it is: an abandoned one first, else the next in line.

        None if there is none after waiting.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            with self._seam():
                found = self._lease(keys=[ACTIVE], args=[EVALUATION, GROUP, consumer, self._lease_ms])
            if found:
                entry, deliveries, spec = found
                return Lease(entry, consumer, deliveries, EpisodeSpec.model_validate_json(spec))
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, _POLL_SECONDS))

    def renew(self, lease: Lease) -> bool:
        """Keep a lease for another period. False: it is lost, or the evaluation was cancelled; stop playing."""
        with self._seam():
            return bool(self._renew(keys=[Keys(lease.spec.evaluation).queue], args=_fence(lease)))

    def release(self, lease: Lease, *, counted: bool) -> None:
        """Give an episode back unplayed, to whoever leases next. `counted`: it counts as a delivery that failed."""
        left = lease.deliveries if counted else lease.deliveries - 1
        with self._seam():
            self._release(keys=[Keys(lease.spec.evaluation).queue], args=[*_fence(lease), _RELEASED_MS, left])

    def commit(self, lease: Lease, result: EpisodeResult) -> bool:
        """Store and count a result exactly once. False: the lease was lost or a result is there; it is dropped."""
        return self._store(lease, result, dead=False)

    def bury(self, lease: Lease, result: EpisodeResult) -> bool:
        """Commit an errored result for an exhausted lease and put the episode on the dead-letter stream."""
        return self._store(lease, result, dead=True)

    def _store(self, lease: Lease, result: EpisodeResult, *, dead: bool) -> bool:
        spec = lease.spec
        keys = Keys(spec.evaluation)
        light, full = pack(result)
        counted: _Arguments = [result.score, int(result.error is not None)]
        buried: _Arguments = [int(dead), spec.evaluation, spec.model_dump_json()]
        with self._seam():
            stored: int = self._commit(
                keys=[keys.queue, keys.evaluation, keys.results, keys.trajectories, keys.events, ACTIVE, DEAD],
                args=[*_fence(lease), result.id, light, full, *counted, *buried],
            )
        return bool(stored)


def _fence(lease: Lease) -> _Arguments:
    """What the scripts recognise a lease by: their first four arguments."""
    return [GROUP, lease.entry, lease.consumer, lease.deliveries]
