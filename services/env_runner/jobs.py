"""Evaluation jobs on Redis Streams: who plays which episode, and what came of it, each counted exactly once.

The only import of redis; needs Redis 6.2 with AOF and `noeviction`. Calls block for under a millisecond on a
local Redis (`lease` for as long as it is told) and are safe from several threads.

    key                                 type    holds
    waymark:evaluations                 zset    evaluation id by its time of creation
    waymark:submissions                 hash    idempotency key to the id of the evaluation submitted under it
    waymark:active                      list    ids of evaluations with episodes to play, whose turn it is first
    waymark:dead                        stream  log of episodes given up after MAX_DELIVERIES: their specs
    waymark:evaluation:ID               hash    evaluation (JSON), shared (JSON: what all specs have in common),
                                                cancelled, and the counters finished, errored, score_sum
    waymark:evaluation:ID:manifest      list    id of every episode, in order of play
    waymark:evaluation:ID:specs         hash    episode id to the rest of its EpisodeSpec (JSON)
    waymark:evaluation:ID:waiting       string  CheckpointMismatch JSON, while a worker waits for the right checkpoint
    waymark:evaluation:ID:queue         stream  one entry an episode that waits or is being played; its consumer
                                                group `workers` holds the leases; absent when nothing is to play
    waymark:evaluation:ID:results       hash    episode id to EpisodeResult JSON without its turns
    waymark:evaluation:ID:trajectories  hash    episode id to the whole EpisodeResult, zlib over JSON
    waymark:evaluation:ID:events        stream  result: the same JSON as in results, in order of commit

The manifest is the truth. Whatever it lists and neither the results nor the queue hold is enqueued by
`enqueue`: the first submission, a resumption and the recovery of a lost queue are the same call.

A lease is a queue entry delivered to a consumer. Consumer and delivery count together fence it: once another
has claimed the entry, or a cancellation has removed it, renewal tells its holder to stop and a commit is refused.

Evaluations take turns: each lease serves the next of them, so a short one does not wait for a long one to end.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.env_runner import scripts
from services.env_runner.keys import EVALUATION, Keys
from services.env_runner.leases import MAX_DELIVERIES, Event, Lease
from services.env_runner.manifest import Manifest, spec_of
from services.env_runner.statuses import leased, read_evaluation, set_aside, status_of
from waymark.contracts import CheckpointMismatch, EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import InvalidInput, JobStoreUnavailable, NotFound, WrongCheckpoint
from waymark.runs import Evaluation

__all__ = ["MAX_DELIVERIES", "WAITING_SECONDS", "Event", "JobStore", "Lease"]

WAITING_SECONDS = 20
"""How long a report that a worker waits for the right checkpoint holds, unless it is renewed."""

_Arguments = list[str | bytes | int]
"""Of a script."""
_EVALUATIONS = "waymark:evaluations"
_SUBMISSIONS = "waymark:submissions"
_ACTIVE = "waymark:active"
_DEAD = "waymark:dead"
_GROUP = "workers"
_RELEASED_MS = 24 * 3_600_000
"""Idle time given to a released entry: abandoned by any measure, so that the next lease takes it at once."""
_POLL_SECONDS = 0.1
"""How often a waiting `lease` looks."""
_SOCKET_SECONDS = 5.0
"""How long Redis may take to answer."""
_PAGE = 500
"""Entries read or written at once where there may be very many."""


class JobStore:
    """Evaluations, their episodes and results, in one Redis. Every method may raise JobStoreUnavailable.

    `url` is `redis://`, `rediss://` or `unix://`. A lease that is not renewed for `lease_seconds` is another's
    for the taking.
    """

    def __init__(self, url: str, *, lease_seconds: float = 30.0) -> None:
        self._where = _without_password(url)
        self._lease_ms = round(lease_seconds * 1000)
        # One more attempt, for a connection that a restarted Redis has closed; waiting longer is for the caller.
        options = {"protocol": 2, "socket_timeout": _SOCKET_SECONDS, "retry": Retry(NoBackoff(), 1)}
        try:
            self._redis: Any = redis.Redis.from_url(url, decode_responses=True, **options)
            self._bytes: Any = redis.Redis.from_url(url, **options)
        except ValueError as error:
            raise JobStoreUnavailable(
                f"{self._where!r} is no Redis address: {error}.", remedy="Set WAYMARK_REDIS_URL to redis://host:port/0."
            ) from error
        self._submit = self._redis.register_script(scripts.SUBMIT)
        self._enqueue = self._redis.register_script(scripts.ENQUEUE)
        self._lease = self._redis.register_script(scripts.LEASE)
        self._renew = self._redis.register_script(scripts.RENEW)
        self._release = self._redis.register_script(scripts.RELEASE)
        self._commit = self._redis.register_script(scripts.COMMIT)
        self._take_back = self._redis.register_script(scripts.TAKE_BACK)
        self._cancel = self._redis.register_script(scripts.CANCEL)

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._seam():
            self._redis.ping()

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
        self._bytes.close()

    # --- evaluations ---------------------------------------------------------------------------------------

    def submit(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], *, key: str | None = None) -> str:
        """Write the manifest, whole or not at all, then enqueue it; returns the id that the evaluation goes by.

        That is its own, or the id of the evaluation that was submitted under the same idempotency `key` before.
        A second call with the same id or key does nothing new.
        """
        keys = Keys(evaluation.id)
        created = _milliseconds(evaluation.created)
        text, manifest = evaluation.model_dump_json(), Manifest.of(specs)
        with self._seam():
            name: str = self._submit(
                keys=[_SUBMISSIONS, _EVALUATIONS, keys.evaluation, keys.manifest, keys.specs],
                args=[
                    evaluation.id,
                    key or "",
                    text,
                    created,
                    manifest.shared,
                    *manifest.pairs(),
                ],
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
                light, full = _pack(result)
                batch.hset(keys.results, result.id, light)
                batch.hset(keys.trajectories, result.id, full)
                batch.xadd(keys.events, {"result": light})
                counters.update(finished=1, errored=int(result.error is not None), score_sum=result.score)
                if len(batch) >= _PAGE:
                    batch.execute()
            batch.execute()
        with self._seam(), self._redis.pipeline(transaction=True) as batch:
            batch.hset(keys.evaluation, mapping=counters)
            batch.hset(keys.evaluation, "evaluation", evaluation.model_dump_json())
            batch.zadd(_EVALUATIONS, {evaluation.id: _milliseconds(evaluation.created)})
            batch.rpush(keys.manifest, *(spec.id for spec in specs))
            manifest = Manifest.of(specs)
            batch.hset(keys.evaluation, "shared", manifest.shared)
            batch.hset(keys.specs, mapping=manifest.own)
            batch.execute()

    def submitted(self, key: str) -> str | None:
        """The id of the evaluation that was submitted under this idempotency key, if any."""
        with self._seam():
            name: str | None = self._redis.hget(_SUBMISSIONS, key)
        return name

    def enqueue(self, evaluation_id: str) -> int:
        """Enqueue every episode that has no result and is not in the queue; returns how many. Idempotent."""
        keys = Keys(evaluation_id)
        with self._seam():
            added: int = self._enqueue(
                keys=[_ACTIVE, keys.evaluation, keys.manifest, keys.results, keys.queue], args=[evaluation_id, _GROUP]
            )
        return added

    def reconcile(self) -> int:
        """Enqueue the gaps of all evaluations that are neither cancelled nor finished; returns how many there were.

        What is not finished is in the queue: where their counts agree, nothing is read.
        """
        with self._seam():
            active = set(self._redis.lrange(_ACTIVE, 0, -1))
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
            self._cancel(keys=[_ACTIVE, keys.evaluation, keys.queue], args=[evaluation_id])

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

    def lease(self, consumer: str, *, wait_seconds: float, skip: Sequence[str] = ()) -> Lease | None:
        """One episode to play, of the evaluation whose turn it is: an abandoned one first, else the next in line.

        None if there is none after waiting. Evaluations to `skip` are left to other workers.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            with self._seam():
                found = self._lease(keys=[_ACTIVE], args=[EVALUATION, _GROUP, consumer, self._lease_ms, *skip])
            if found:
                entry, deliveries, episode, own, shared = found
                return Lease(entry, consumer, deliveries, spec_of(episode, own, shared))
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
        """Store and count a result exactly once. False: the lease was lost or a result is there; it is dropped.

        Raises WrongCheckpoint, and stores nothing, if another checkpoint made it than the evaluation was submitted for.
        """
        return self._store(lease, result, dead=False)

    def bury(self, lease: Lease, result: EpisodeResult) -> bool:
        """Commit an errored result for an exhausted lease and put the episode on the dead-letter stream."""
        return self._store(lease, result, dead=True)

    def _store(self, lease: Lease, result: EpisodeResult, *, dead: bool) -> bool:
        spec = lease.spec
        keys = Keys(spec.evaluation)
        light, full = _pack(result)
        counted: _Arguments = [result.score, int(result.error is not None)]
        made_by = result.checkpoints.model_dump_json(exclude_none=True) if result.checkpoints else "{}"
        buried: _Arguments = [int(dead), spec.evaluation, spec.model_dump_json()]
        with self._seam():
            stored: int = self._commit(
                keys=[keys.queue, keys.evaluation, keys.results, keys.trajectories, keys.events, _ACTIVE, _DEAD],
                args=[*_fence(lease), result.id, light, full, *counted, *buried, made_by],
            )
        if stored < 0:
            raise WrongCheckpoint(
                f"Episode {result.id} was played by {made_by}; evaluation {spec.evaluation} was submitted for others.",
                remedy="Start the services with the checkpoints that it was submitted for.",
            )
        return bool(stored)

    def report_waiting(self, evaluation_id: str, mismatch: CheckpointMismatch | None) -> None:
        """Say for the next seconds why a worker does not play an evaluation; None: it does again."""
        key = Keys(evaluation_id).waiting
        with self._seam():
            if mismatch is None:
                self._redis.delete(key)
            else:
                self._redis.set(key, mismatch.model_dump_json(), ex=WAITING_SECONDS)

    # --- reading -------------------------------------------------------------------------------------------

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """What was submitted. Raises NotFound, and InvalidInput for one that is unreadable."""
        with self._seam():
            text = self._redis.hget(Keys(evaluation_id).evaluation, "evaluation")
        if text is None:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        return read_evaluation(text)

    def ids(self) -> list[str]:
        """Every evaluation, oldest first."""
        with self._seam():
            found: list[str] = self._redis.zrange(_EVALUATIONS, 0, -1)
        return found

    def statuses(self, ids: Sequence[str] | None = None) -> list[EvaluationStatus]:
        """How far evaluations have come: these, or all, oldest first. Unknown and unreadable ones are left out."""
        return self._statuses(self.ids() if ids is None else ids)

    def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far an evaluation has come. Raises NotFound."""
        found = self._statuses([evaluation_id])
        if not found:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        return found[0]

    def newest(self, count: int, *, before: str | None = None) -> list[EvaluationStatus]:
        """At most `count` evaluations, the newest first; with `before`, those older than this one. Raises NotFound."""
        with self._seam():
            place = -1 if before is None else self._redis.zrevrank(_EVALUATIONS, before)
            if place is None:
                raise NotFound(f"No evaluation {before!r}.", remedy="GET /v1/evaluations lists them.")
            ids = self._redis.zrevrange(_EVALUATIONS, place + 1, place + count)
        return self._statuses(ids)

    def specs(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeSpec]:
        """The manifest, in order of play; empty for an unknown evaluation.

        Of it the `count` episodes (None: all) from place `first` on.
        """
        keys = Keys(evaluation_id)
        with self._seam():
            manifest = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            found = self._redis.hmget(keys.specs, manifest) if manifest else []
            shared = self._redis.hget(keys.evaluation, "shared") or "{}"
        return [spec_of(episode, own, shared) for episode, own in zip(manifest, found, strict=True)]

    def results(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeResult]:
        """Results without their turns, in order of the manifest. Raises NotFound.

        Of the `count` episodes (None: all) from place `first` of the manifest on, those that have a result.
        """
        self.evaluation(evaluation_id)
        keys = Keys(evaluation_id)
        with self._seam():
            ids = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            found = self._redis.hmget(keys.results, ids) if ids else []
        return [EpisodeResult.model_validate_json(text) for text in found if text is not None]

    def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One result with every turn. Raises NotFound while there is none."""
        with self._seam():
            full = self._bytes.hget(Keys(evaluation_id).trajectories, episode_id)
        if full is None:
            raise NotFound(
                f"No finished episode {episode_id!r} in evaluation {evaluation_id!r}.",
                remedy="GET its /results lists those that are.",
            )
        return EpisodeResult.model_validate_json(zlib.decompress(full))

    def events(self, cursors: Mapping[str, str]) -> list[Event]:
        """What was committed to each evaluation after its cursor (`0` for all), at most 500 each; does not wait."""
        if not cursors:
            return []
        evaluations = {Keys(evaluation).events: evaluation for evaluation in cursors}
        with self._seam():
            streams = self._redis.xread({key: cursors[one] for key, one in evaluations.items()}, count=_PAGE)
        return [
            Event(evaluations[key], cursor, EpisodeResult.model_validate_json(fields["result"]))
            for key, entries in streams
            for cursor, fields in entries
        ]

    def dead(self) -> list[EpisodeSpec]:
        """The episodes that were given up, oldest first."""
        with self._seam():
            entries = self._redis.xrange(_DEAD)
        return [EpisodeSpec.model_validate_json(fields["spec"]) for _, fields in entries]

    def _pages(self, evaluation_id: str) -> Iterator[list[Event]]:
        """All events of an evaluation, a page at a time."""
        cursor = "0"
        while page := self.events({evaluation_id: cursor}):
            yield page
            cursor = page[-1].cursor

    def _statuses(self, ids: Sequence[str]) -> list[EvaluationStatus]:
        with self._seam(), self._redis.pipeline(transaction=False) as batch:
            for evaluation_id in ids:
                keys = Keys(evaluation_id)
                batch.hgetall(keys.evaluation)
                batch.xpending(keys.queue, _GROUP)
                batch.get(keys.waiting)
            answers = batch.execute(raise_on_error=False)
        found = []
        for name, row, leases, waiting in zip(ids, answers[::3], answers[1::3], answers[2::3], strict=True):
            if row:
                try:
                    found.append(status_of(row, leased(leases), waiting))
                except InvalidInput as error:
                    set_aside(name, str(error))
        return found

    @contextmanager
    def _seam(self) -> Iterator[None]:
        """Translate what redis raises, once."""
        try:
            yield
        except redis.RedisError as error:
            raise JobStoreUnavailable(
                f"Redis at {self._where} failed: {error}.", remedy="Start Redis, or set WAYMARK_REDIS_URL."
            ) from error


def _fence(lease: Lease) -> _Arguments:
    """What the scripts recognise a lease by: their first four arguments."""
    return [_GROUP, lease.entry, lease.consumer, lease.deliveries]


def _pack(result: EpisodeResult) -> tuple[str, bytes]:
    """A result as the results hold it, and as the trajectories do."""
    return result.light().model_dump_json(), zlib.compress(result.model_dump_json().encode())


def _milliseconds(created: str) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def _without_password(url: str) -> str:
    netloc = urlsplit(url).netloc
    return url.replace(netloc, netloc.rpartition("@")[2]) if netloc else url
