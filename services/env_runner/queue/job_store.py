"""The job store: evaluations, their episodes and results in one Redis."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from services.env_runner.queue import record_version
from services.env_runner.queue.abandoned_leases import Sighting, Silence
from services.env_runner.queue.job_reader import PAGE, JobReader
from services.env_runner.queue.lease import Lease
from services.env_runner.queue.lua_scripts import script
from services.env_runner.queue.manifest import Manifest, spec_of
from services.env_runner.queue.records import leased, milliseconds, pack
from services.env_runner.queue.redis_keys import ACTIVE, DEAD, EVALUATION, EVALUATIONS, GROUP, SUBMISSIONS, Keys
from waymark.contracts import CheckpointMismatch, EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import NotFound, RecordDamaged, WaymarkError, WrongCheckpoint
from waymark.evaluation.run_folder import Evaluation
from waymark.redis_address import RedisAddress

_Arguments = list[str | bytes | int]
"""The arguments of a script."""
_LOOKS_PER_LEASE = 20
"""Number of checks of all leases within the period of a lease."""
_FEW_LEASES = 200
"""With more leases than this, each worker checks less often: the cost of a check grows with the number of leases, and
every worker checks."""
_LEAST_LOOKS_PER_LEASE = 4
"""The smallest number of such checks."""
_PENDING = 10_000
"""Largest number of leases of one evaluation that are checked at once."""
WAITING_SECONDS = 20
"""Seconds after which a report that a worker waits for the right checkpoint expires, unless it is renewed."""
_POLL_SECONDS = 0.1
"""Seconds between two attempts of a waiting `lease`."""
_log = logging.getLogger(__name__)


class JobStore(JobReader):
    """Evaluations, their episodes and results, in one Redis. Every method may raise JobStoreUnavailable.

    `url` is `redis://`, `rediss://` or `unix://`. Another worker may take a lease that was not renewed for
    `lease_seconds`.
    """

    def __init__(
        self, url: str | RedisAddress, *, lease_seconds: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(url)
        self._lease_seconds = lease_seconds
        self._look_seconds = lease_seconds / _LOOKS_PER_LEASE
        self._crowded = False
        self._silence = Silence(lease_seconds, clock)
        self._clock = clock
        self._looked = -math.inf
        self._silent: list[Sighting] = []
        self._pending = self._redis.register_script(script("pending", "renewals"))
        self._submit = self._redis.register_script(script("submit"))
        self._enqueue = self._redis.register_script(script("enqueue"))
        self._lease = self._redis.register_script(script("lease", "sound", "counters", "renewals"))
        self._renew = self._redis.register_script(script("renew", "holds", "renewals"))
        self._release = self._redis.register_script(script("release", "holds"))
        self._commit = self._redis.register_script(script("commit", "holds", "sound", "counters"))
        self._take_back = self._redis.register_script(script("take_back", "counters"))
        self._damaged = self._redis.register_script(script("damaged", "sound"))
        self._cancel = self._redis.register_script(script("cancel"))

    def announce(self) -> None:
        """Write the version of the records that this process reads and writes. Raises VersionMismatch."""
        with self._translated_errors():
            record_version.announce(self._redis, self._where)

    def check_version(self) -> None:
        """Raise VersionMismatch if the env-runner reads and writes another version of the records."""
        with self._translated_errors():
            record_version.check(self._redis, self._where)

    # --- evaluations ---------------------------------------------------------------------------------------

    def submit(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], *, key: str | None = None) -> str:
        """Write the manifest, whole or not at all, then enqueue it; returns the id that the evaluation goes by.

        That is its own, or the id of the evaluation that was submitted under the same idempotency `key` before.
        A second call with the same id or key does nothing new.
        """
        keys = Keys(evaluation.id)
        created = milliseconds(evaluation.created)
        text, manifest = evaluation.model_dump_json(), Manifest.of(specs)
        with self._translated_errors():
            name: str = self._submit(
                keys=[SUBMISSIONS, EVALUATIONS, keys.evaluation, keys.manifest, keys.specs],
                args=[evaluation.id, key or "", text, created, manifest.shared, *manifest.pairs()],
            )
        self.enqueue(name)
        return name

    def restore(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], results: Iterable[EpisodeResult]) -> None:
        """Take in an evaluation that this Redis does not know with the results that it has, whole or not at all.

        `resume` then plays the rest. One caller at a time.
        """
        keys = Keys(evaluation.id)
        counters: Counter[str] = Counter(finished=0, errored=0, score_sum=0)
        with self._translated_errors(), self._bytes.pipeline(transaction=False) as batch:
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
        with self._translated_errors(), self._redis.pipeline(transaction=True) as batch:
            batch.delete(keys.evaluation, keys.manifest, keys.specs, keys.queue, keys.renewals, keys.released)
            batch.hset(keys.evaluation, mapping=counters)
            batch.hset(keys.evaluation, "evaluation", evaluation.model_dump_json())
            batch.zadd(EVALUATIONS, {evaluation.id: milliseconds(evaluation.created)})
            batch.rpush(keys.manifest, *(spec.id for spec in specs))
            manifest = Manifest.of(specs)
            batch.hset(keys.evaluation, "shared", manifest.shared)
            batch.hset(keys.specs, mapping=manifest.own)
            batch.execute()

    def submitted(self, key: str) -> str | None:
        """The id of the evaluation that was submitted under this idempotency key, if any."""
        with self._translated_errors():
            name: str | None = self._redis.hget(SUBMISSIONS, key)
        return name

    def enqueue(self, evaluation_id: str) -> int:
        """Enqueue every episode that has no result and is not in the queue; returns how many. Idempotent."""
        keys = Keys(evaluation_id)
        with self._translated_errors():
            added: int = self._enqueue(
                keys=[ACTIVE, keys.evaluation, keys.manifest, keys.results, keys.queue, keys.specs],
                args=[evaluation_id, GROUP],
            )
        return added

    def reconcile(self, report: Callable[[str, WaymarkError], None] = lambda _id, _error: None) -> int:
        """Enqueue the gaps of all evaluations that are neither cancelled nor finished; returns how many there were.

        If the counters of an evaluation show that all unfinished episodes are in the queue, nothing is read. `report`
        is called with each evaluation that cannot be played any more and the reason; the others are not affected.
        """
        with self._translated_errors():
            active = set(self._redis.lrange(ACTIVE, 0, -1))
        added = 0
        for evaluation_id, status in self.look_up(self.ids()).items():
            if isinstance(status, WaymarkError):
                report(evaluation_id, status)
            elif status.state in {"queued", "running"}:
                try:
                    added += self._fill_gaps(status, is_active=evaluation_id in active)
                except (RecordDamaged, NotFound) as error:
                    report(evaluation_id, error)
        return added

    def _fill_gaps(self, status: EvaluationStatus, *, is_active: bool) -> int:
        """Enqueue the gaps of one evaluation. Raises RecordDamaged where they cannot be filled."""
        with self._translated_errors():
            if self._damaged(keys=[Keys(status.id).evaluation]):
                raise RecordDamaged(
                    f"Keys of the evaluation {status.id} in Redis have wrong types.",
                    remedy="Something else writes there: give Waymark a Redis database of its own.",
                )
        if is_active and self._queued(status.id) == status.episodes - status.finished:
            return 0
        added = self.enqueue(status.id)
        now = self.status(status.id)  # results may have come meanwhile
        missing = now.episodes - now.finished - self._queued(status.id)
        if missing > 0 and self.status(status.id) == now and now.state != "cancelled":
            raise RecordDamaged(
                f"Redis has lost the specifications of {missing} episodes of the evaluation {status.id}.",
                remedy=f"Cancel it (POST /v1/evaluations/{status.id}/cancel) and submit it again.",
            )
        return added

    def _queued(self, evaluation_id: str) -> int:
        with self._translated_errors():
            length: int = self._redis.xlen(Keys(evaluation_id).queue)
        return length

    def others_wait(self, but: Collection[str]) -> bool:
        """Whether an evaluation that is none of these has an episode that nobody plays."""
        with self._translated_errors():
            ids = [evaluation for evaluation in self._redis.lrange(ACTIVE, 0, -1) if evaluation not in but]
        with self._translated_errors(), self._redis.pipeline(transaction=False) as batch:
            for evaluation_id in ids:
                batch.xlen(Keys(evaluation_id).queue)
                batch.xpending(Keys(evaluation_id).queue, GROUP)
            answers = batch.execute(raise_on_error=False)
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return any(isinstance(length, int) and length > leased(leases) for length, leases in pairs)

    def cancel(self, evaluation_id: str) -> None:
        """Remove an evaluation's queue; running episodes lose their lease. Raises NotFound."""
        keys = Keys(evaluation_id)
        with self._translated_errors():
            if self._redis.zscore(EVALUATIONS, evaluation_id) is None:
                raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
            self._cancel(keys=[ACTIVE, keys.evaluation, keys.queue, keys.renewals, keys.released], args=[evaluation_id])

    def resume(self, evaluation_id: str, *, errored: bool = False) -> int:
        """Take back a cancellation and enqueue what has no result; returns how many. Raises NotFound.

        `errored`: also play errored episodes again. Their results and events are removed first, so a follower of the
        events gets such an episode a second time.
        """
        self.evaluation(evaluation_id)
        keys = Keys(evaluation_id)
        if errored:
            for events in self._pages(evaluation_id):
                failed = [(event.result.id, event.cursor) for event in events if event.result.error is not None]
                if failed:
                    with self._translated_errors():
                        self._take_back(
                            keys=[keys.evaluation, keys.results, keys.trajectories, keys.events],
                            args=[text for pair in failed for text in pair],
                        )
        with self._translated_errors():
            self._redis.hdel(keys.evaluation, "cancelled")
        return self.enqueue(evaluation_id)

    # --- playing -------------------------------------------------------------------------------------------

    def lease(self, consumer: str, *, wait_seconds: float, skip: Sequence[str] = ()) -> Lease | None:
        """Lease one episode of the evaluation whose turn it is: an abandoned one first, else the next in the queue.

        None if there is none after waiting. Evaluations to `skip` are left to other workers. Raises VersionMismatch.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            if self._clock() - self._looked >= self._look_seconds:
                self.check_version()
                self.look()
            silent = [value for lease in self._silent for value in lease]
            with self._translated_errors():
                answer = self._lease(keys=[ACTIVE], args=[EVALUATION, GROUP, consumer, len(skip), *skip, *silent])
            if answer and (lease := self._read_lease(consumer, *answer)):
                return lease
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, _POLL_SECONDS))

    def look(self) -> None:
        """Check all leases for renewals. Call it several times within the period of a lease.

        `lease` does this itself. A worker whose slots are all busy calls this method, so that it can tell abandoned
        leases from those it has never seen. With very many leases, a call that comes too soon does nothing.
        """
        if self._crowded and self._clock() - self._looked < self._look_seconds:
            return
        self._looked = self._clock()
        with self._translated_errors():
            flat = self._pending(keys=[ACTIVE], args=[EVALUATION, GROUP, _PENDING])
        rows = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
        self._silent = self._silence.look(
            Sighting(evaluation, entry, int(count), int(renewals)) for evaluation, entry, count, renewals in rows
        )
        leases = len(flat) // 4
        self._crowded = leases > _FEW_LEASES
        looks = max(_LOOKS_PER_LEASE * min(1.0, _FEW_LEASES / max(leases, 1)), _LEAST_LOOKS_PER_LEASE)
        self._look_seconds = self._lease_seconds / looks

    def _read_lease(
        self,
        consumer: str,
        evaluation_id: str,
        entry: str,
        deliveries: int,
        renewals: int,
        episode: str,
        own: str,
        shared: str,
    ) -> Lease | None:
        """A lease as Redis gives it. None for one whose spec cannot be read: it is dropped, and reconciling tells."""
        try:
            spec = spec_of(episode, own, shared)
        except RecordDamaged as error:
            _log.error("Episode %s of %s is not played: %s", episode, evaluation_id, error)
            keys = Keys(evaluation_id)
            with self._translated_errors(), self._redis.pipeline(transaction=True) as batch:
                batch.xack(keys.queue, GROUP, entry)
                batch.xdel(keys.queue, entry)
                batch.hdel(keys.specs, episode)
                batch.execute()
            return None
        self._silence.note(Sighting(evaluation_id, entry, deliveries, renewals))
        return Lease(entry, consumer, deliveries, spec)

    def renew(self, lease: Lease) -> bool:
        """Renew a lease for another period. False: it is lost, or the evaluation was cancelled, so stop playing."""
        evaluation_id = lease.spec.evaluation
        keys = Keys(evaluation_id)
        with self._translated_errors():
            renewals: int = self._renew(keys=[keys.queue, keys.renewals], args=_fence(lease))
        if renewals:
            self._silence.note(Sighting(evaluation_id, lease.entry, lease.deliveries, renewals))
        return bool(renewals)

    def release(self, lease: Lease, *, counted: bool) -> None:
        """Return an episode to the queue; the next lease gets it. `counted`: it counts as a failed delivery."""
        left = lease.deliveries if counted else lease.deliveries - 1
        keys = Keys(lease.spec.evaluation)
        with self._translated_errors():
            self._release(keys=[keys.queue, keys.released], args=[*_fence(lease), left])

    def commit(self, lease: Lease, result: EpisodeResult) -> bool:
        """Store and count a result exactly once. False: the lease was lost or there already is a result; this one is
        dropped.

        Raises WrongCheckpoint, and stores nothing, if another checkpoint made it than the evaluation was submitted for.
        """
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
        made_by = result.checkpoints.model_dump_json(exclude_none=True) if result.checkpoints else "{}"
        with self._translated_errors():
            stored: int = self._commit(
                keys=[
                    *(keys.queue, keys.evaluation, keys.results, keys.trajectories, keys.events),
                    *(ACTIVE, DEAD, keys.renewals, keys.released),
                ],
                args=[*_fence(lease), result.id, light, full, *counted, *buried, made_by],
            )
        if stored < 0:
            raise WrongCheckpoint(
                f"Episode {result.id} was played by {made_by}; evaluation {spec.evaluation} was submitted for others.",
                remedy="Start the services with the checkpoints that it was submitted for.",
            )
        return bool(stored)

    def report_waiting(self, evaluation_id: str, mismatch: CheckpointMismatch | None) -> None:
        """Report for some seconds why a worker does not play an evaluation; None: it plays again."""
        key = Keys(evaluation_id).waiting
        with self._translated_errors():
            if mismatch is None:
                self._redis.delete(key)
            else:
                self._redis.set(key, mismatch.model_dump_json(), ex=WAITING_SECONDS)


def _fence(lease: Lease) -> _Arguments:
    """The first four arguments of the scripts, by which they recognise a lease."""
    return [GROUP, lease.entry, lease.consumer, lease.deliveries]
