"""Evaluation jobs on Redis Streams: who plays which episode, and what came of it, each counted exactly once.

The only import of redis; needs Redis 6.2 with AOF and `noeviction`. Calls block for under a millisecond on a
local Redis (`lease` for as long as it is told) and are safe from several threads.

    key                                 type    holds
    waymark:evaluations                 zset    evaluation id by its time of creation
    waymark:submissions                 hash    idempotency key to the id of the evaluation submitted under it
    waymark:active                      list    ids of evaluations with episodes to play, whose turn it is first
    waymark:dead                        stream  log of episodes given up after MAX_DELIVERIES: their specs
    waymark:evaluation:ID               hash    evaluation (JSON), cancelled, and the counters finished, errored,
                                                score_sum
    waymark:evaluation:ID:manifest      list    id of every episode, in order of play
    waymark:evaluation:ID:specs         hash    episode id to EpisodeSpec JSON
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
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.env_runner.redis_address import RedisAddress, parse
from waymark.agents import name_of
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import InvalidInput, JobStoreUnavailable, NotFound
from waymark.runs import Evaluation

MAX_DELIVERIES = 3
"""An episode delivered more often than this goes to the dead-letter stream and is reported as errored."""

_Arguments = list[str | bytes | int]
"""Of a script."""
_EVALUATIONS = "waymark:evaluations"
_SUBMISSIONS = "waymark:submissions"
_ACTIVE = "waymark:active"
_DEAD = "waymark:dead"
_EVALUATION = "waymark:evaluation:"
_GROUP = "workers"
_RELEASED_MS = 24 * 3_600_000
"""Idle time given to a released entry: abandoned by any measure, so that the next lease takes it at once."""
_POLL_SECONDS = 0.1
"""How often a waiting `lease` looks."""
_SOCKET_SECONDS = 5.0
"""How long Redis may take to answer."""
_PAGE = 500
"""Entries read or written at once where there may be very many."""

_SUBMIT = """
-- KEYS: submissions, evaluations, evaluation, manifest, specs.
-- ARGV: id, idempotency key or '', evaluation, time of creation, then episode id and spec in turn.
-- Writes it whole, or not at all if it or its key is known; returns the id that it goes by.
if ARGV[2] ~= '' then
    local earlier = redis.call('HGET', KEYS[1], ARGV[2])
    if earlier then return earlier end
end
if redis.call('EXISTS', KEYS[3]) == 1 then return ARGV[1] end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
redis.call('HSET', KEYS[3], 'evaluation', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
for first = 5, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    local ids = {}
    for i = first, last, 2 do ids[#ids + 1] = ARGV[i] end
    redis.call('RPUSH', KEYS[4], unpack(ids))
    redis.call('HSET', KEYS[5], unpack(ARGV, first, last))
end
return ARGV[1]
"""

_ENQUEUE = """
-- KEYS: active, evaluation, manifest, results, queue. ARGV: evaluation id, group.
-- Adds what the manifest lists and neither the results nor the queue hold; returns how many.
if redis.call('HEXISTS', KEYS[2], 'cancelled') == 1 then return 0 end
local known = {}
for _, episode in ipairs(redis.call('HKEYS', KEYS[4])) do known[episode] = true end
for _, entry in ipairs(redis.call('XRANGE', KEYS[5], '-', '+')) do known[entry[2][2]] = true end
local added = 0
for _, episode in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
    if not known[episode] then
        redis.call('XADD', KEYS[5], '*', 'episode', episode)
        added = added + 1
    end
end
if redis.call('XLEN', KEYS[5]) > 0 then
    redis.pcall('XGROUP', 'CREATE', KEYS[5], ARGV[2], '0')
    redis.call('LREM', KEYS[1], 0, ARGV[1])
    redis.call('RPUSH', KEYS[1], ARGV[1])
end
return added
"""

_LEASE = """
-- KEYS: active. ARGV: prefix of an evaluation's keys, group, consumer, lease in ms.
-- An episode of the evaluation whose turn it is, an abandoned one first: entry, delivery count, spec. Nil: none.
for _ = 1, redis.call('LLEN', KEYS[1]) do
    local evaluation = ARGV[1] .. redis.call('LMOVE', KEYS[1], KEYS[1], 'LEFT', 'RIGHT')
    local queue = evaluation .. ':queue'
    local abandoned = redis.pcall('XPENDING', queue, ARGV[2], 'IDLE', ARGV[4], '-', '+', 1)[1]
    local entry, deliveries
    if abandoned then
        entry = redis.call('XCLAIM', queue, ARGV[2], ARGV[3], ARGV[4], abandoned[1])[1]
        deliveries = abandoned[4] + 1
    else
        local read = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', 1, 'STREAMS', queue, '>')
        entry = read and read[1] and read[1][2][1]
        deliveries = 1
    end
    if entry then
        return {entry[1], deliveries, redis.call('HGET', evaluation .. ':specs', entry[2][2])}
    end
end
return nil
"""

_HOLDS = """
local function holds(queue, group, entry, consumer, deliveries)
    local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1)[1]
    return pending and pending[2] == consumer and pending[4] == tonumber(deliveries)
end
"""

_RENEW = (
    _HOLDS
    + """
-- KEYS: queue. ARGV: group, entry, consumer, deliveries. Returns 1 while the lease holds.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID')
return 1
"""
)

_RELEASE = (
    _HOLDS
    + """
-- KEYS: queue. ARGV: group, entry, consumer, deliveries, idle ms, delivery count to leave behind.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'IDLE', ARGV[5], 'RETRYCOUNT', ARGV[6], 'JUSTID')
return 1
"""
)

_COMMIT = (
    _HOLDS
    + """
-- KEYS: queue, evaluation, results, trajectories, events, active, dead.
-- ARGV: group, entry, consumer, deliveries, episode, light, full, score, errored, dead, evaluation id, spec.
-- Stores the result only if the lease holds and none is there, counts it only then, and acknowledges.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
local stored = redis.call('HSETNX', KEYS[3], ARGV[5], ARGV[6])
if stored == 1 then
    redis.call('HSET', KEYS[4], ARGV[5], ARGV[7])
    redis.call('HINCRBY', KEYS[2], 'finished', 1)
    redis.call('HINCRBY', KEYS[2], 'errored', ARGV[9])
    redis.call('HINCRBY', KEYS[2], 'score_sum', ARGV[8])
    redis.call('XADD', KEYS[5], '*', 'result', ARGV[6])
    if ARGV[10] == '1' then redis.call('XADD', KEYS[7], '*', 'spec', ARGV[12]) end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('XLEN', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[1])
    redis.call('LREM', KEYS[6], 0, ARGV[11])
end
return stored
"""
)

_TAKE_BACK = """
-- KEYS: evaluation, results, trajectories, events. ARGV: episode id and the id of its event in turn.
-- Takes back the results of these episodes, those that are still there and errored.
for i = 1, #ARGV, 2 do
    local light = redis.call('HGET', KEYS[2], ARGV[i])
    local result = light and cjson.decode(light)
    if result and result.error ~= cjson.null then
        redis.call('HDEL', KEYS[2], ARGV[i])
        redis.call('HDEL', KEYS[3], ARGV[i])
        redis.call('XDEL', KEYS[4], ARGV[i + 1])
        redis.call('HINCRBY', KEYS[1], 'finished', -1)
        redis.call('HINCRBY', KEYS[1], 'errored', -1)
        redis.call('HINCRBY', KEYS[1], 'score_sum', 0 - result.score)
    end
end
"""

_CANCEL = """
-- KEYS: active, evaluation, queue. ARGV: evaluation id. With the queue go its leases.
redis.call('HSET', KEYS[2], 'cancelled', 1)
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('DEL', KEYS[3])
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to play one episode, until it is lost to another by not being renewed."""

    entry: str
    """Id of the stream entry."""
    consumer: str
    """Who holds it: one name a worker process."""
    deliveries: int
    """How often the episode has been handed out, this time included."""
    spec: EpisodeSpec

    @property
    def last(self) -> bool:
        """It is not handed out again: what plays beside it should not be able to take it down."""
        return self.deliveries == MAX_DELIVERIES

    @property
    def exhausted(self) -> bool:
        """It was handed out too often without a result: bury it instead of playing it."""
        return self.deliveries > MAX_DELIVERIES


@dataclass(frozen=True, slots=True)
class Event:
    """One committed result, light, with the cursor from which to read on."""

    evaluation: str
    cursor: str
    result: EpisodeResult


class JobStore:
    """Evaluations, their episodes and results, in one Redis. Every method may raise JobStoreUnavailable.

    `url` is `redis://`, `rediss://` or `unix://`. A lease that is not renewed for `lease_seconds` is another's
    for the taking.
    """

    def __init__(self, url: str | RedisAddress, *, lease_seconds: float = 30.0) -> None:
        address = parse(url) if isinstance(url, str) else url
        self._where = address.shown
        self._lease_ms = round(lease_seconds * 1000)
        # One more attempt, for a connection that a restarted Redis has closed; waiting longer is for the caller.
        options = {"protocol": 2, "socket_timeout": _SOCKET_SECONDS, "retry": Retry(NoBackoff(), 1)}
        options |= address.credentials
        try:
            self._redis: Any = redis.Redis.from_url(address.url, decode_responses=True, **options)
            self._bytes: Any = redis.Redis.from_url(address.url, **options)
            pool = self._bytes.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # an unknown option is noticed here, not at the first call
        except (ValueError, TypeError):
            # Their messages may quote the query, which may hold a secret.
            raise InvalidInput(
                f"The options behind `?` of the Redis address {self._where} are not understood.",
                remedy="Set WAYMARK_REDIS_URL to redis://host:port/0 without them.",
                field="WAYMARK_REDIS_URL",
            ) from None
        self._submit = self._redis.register_script(_SUBMIT)
        self._enqueue = self._redis.register_script(_ENQUEUE)
        self._lease = self._redis.register_script(_LEASE)
        self._renew = self._redis.register_script(_RENEW)
        self._release = self._redis.register_script(_RELEASE)
        self._commit = self._redis.register_script(_COMMIT)
        self._take_back = self._redis.register_script(_TAKE_BACK)
        self._cancel = self._redis.register_script(_CANCEL)

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
        keys = _Keys(evaluation.id)
        created = _milliseconds(evaluation.created)
        manifest = [text for spec in specs for text in (spec.id, spec.model_dump_json())]
        with self._seam():
            name: str = self._submit(
                keys=[_SUBMISSIONS, _EVALUATIONS, keys.evaluation, keys.manifest, keys.specs],
                args=[evaluation.id, key or "", evaluation.model_dump_json(), created, *manifest],
            )
        self.enqueue(name)
        return name

    def restore(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec], results: Iterable[EpisodeResult]) -> None:
        """Take in an evaluation that this Redis does not know with the results that it has, whole or not at all.

        `resume` then plays the rest. One caller at a time.
        """
        keys = _Keys(evaluation.id)
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
            batch.hset(keys.specs, mapping={spec.id: spec.model_dump_json() for spec in specs})
            batch.execute()

    def submitted(self, key: str) -> str | None:
        """The id of the evaluation that was submitted under this idempotency key, if any."""
        with self._seam():
            name: str | None = self._redis.hget(_SUBMISSIONS, key)
        return name

    def enqueue(self, evaluation_id: str) -> int:
        """Enqueue every episode that has no result and is not in the queue; returns how many. Idempotent."""
        keys = _Keys(evaluation_id)
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
                    batch.xlen(_Keys(status.id).queue)
                queued = batch.execute()
        return sum(
            self.enqueue(status.id)
            for status, length in zip(unfinished, queued, strict=True)
            if length != status.episodes - status.finished or status.id not in active
        )

    def cancel(self, evaluation_id: str) -> None:
        """Take an evaluation's queue away; episodes being played lose their lease. Raises NotFound."""
        self.evaluation(evaluation_id)
        keys = _Keys(evaluation_id)
        with self._seam():
            self._cancel(keys=[_ACTIVE, keys.evaluation, keys.queue], args=[evaluation_id])

    def resume(self, evaluation_id: str, *, errored: bool = False) -> int:
        """Take back a cancellation and enqueue what has no result; returns how many. Raises NotFound.

        `errored`: play also those again that errored. Their results and events are taken back first, so who
        follows the events is told of such an episode a second time.
        """
        self.evaluation(evaluation_id)
        keys = _Keys(evaluation_id)
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
                found = self._lease(keys=[_ACTIVE], args=[_EVALUATION, _GROUP, consumer, self._lease_ms])
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
            return bool(self._renew(keys=[_Keys(lease.spec.evaluation).queue], args=_fence(lease)))

    def release(self, lease: Lease, *, counted: bool) -> None:
        """Give an episode back unplayed, to whoever leases next. `counted`: it counts as a delivery that failed."""
        left = lease.deliveries if counted else lease.deliveries - 1
        with self._seam():
            self._release(keys=[_Keys(lease.spec.evaluation).queue], args=[*_fence(lease), _RELEASED_MS, left])

    def commit(self, lease: Lease, result: EpisodeResult) -> bool:
        """Store and count a result exactly once. False: the lease was lost or a result is there; it is dropped."""
        return self._store(lease, result, dead=False)

    def bury(self, lease: Lease, result: EpisodeResult) -> bool:
        """Commit an errored result for an exhausted lease and put the episode on the dead-letter stream."""
        return self._store(lease, result, dead=True)

    def _store(self, lease: Lease, result: EpisodeResult, *, dead: bool) -> bool:
        spec = lease.spec
        keys = _Keys(spec.evaluation)
        light, full = _pack(result)
        counted: _Arguments = [result.score, int(result.error is not None)]
        buried: _Arguments = [int(dead), spec.evaluation, spec.model_dump_json()]
        with self._seam():
            stored: int = self._commit(
                keys=[keys.queue, keys.evaluation, keys.results, keys.trajectories, keys.events, _ACTIVE, _DEAD],
                args=[*_fence(lease), result.id, light, full, *counted, *buried],
            )
        return bool(stored)

    # --- reading -------------------------------------------------------------------------------------------

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """What was submitted. Raises NotFound."""
        with self._seam():
            text = self._redis.hget(_Keys(evaluation_id).evaluation, "evaluation")
        if text is None:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        return Evaluation.model_validate_json(text)

    def ids(self) -> list[str]:
        """Every evaluation, oldest first."""
        with self._seam():
            found: list[str] = self._redis.zrange(_EVALUATIONS, 0, -1)
        return found

    def statuses(self, ids: Sequence[str] | None = None) -> list[EvaluationStatus]:
        """How far evaluations have come: these, or all, oldest first. Unknown ones are left out."""
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
        keys = _Keys(evaluation_id)
        with self._seam():
            manifest = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            found = self._redis.hmget(keys.specs, manifest) if manifest else []
        return [EpisodeSpec.model_validate_json(text) for text in found]

    def results(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeResult]:
        """Results without their turns, in order of the manifest. Raises NotFound.

        Of the `count` episodes (None: all) from place `first` of the manifest on, those that have a result.
        """
        self.evaluation(evaluation_id)
        keys = _Keys(evaluation_id)
        with self._seam():
            ids = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            found = self._redis.hmget(keys.results, ids) if ids else []
        return [EpisodeResult.model_validate_json(text) for text in found if text is not None]

    def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One result with every turn. Raises NotFound while there is none."""
        with self._seam():
            full = self._bytes.hget(_Keys(evaluation_id).trajectories, episode_id)
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
        evaluations = {_Keys(evaluation).events: evaluation for evaluation in cursors}
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
                keys = _Keys(evaluation_id)
                batch.hgetall(keys.evaluation)
                batch.xpending(keys.queue, _GROUP)
            answers = batch.execute(raise_on_error=False)
        rows, pending = answers[::2], answers[1::2]
        return [_status(row, _leased(leases)) for row, leases in zip(rows, pending, strict=True) if row]

    @contextmanager
    def _seam(self) -> Iterator[None]:
        """Translate what redis raises, once."""
        try:
            yield
        except redis.RedisError as error:
            raise JobStoreUnavailable(
                f"Redis at {self._where} failed: {error}.", remedy="Start Redis, or set WAYMARK_REDIS_URL."
            ) from error


class _Keys:
    """The keys of one evaluation; see the table above."""

    def __init__(self, evaluation_id: str) -> None:
        self.evaluation = f"{_EVALUATION}{evaluation_id}"
        self.manifest = f"{self.evaluation}:manifest"
        self.specs = f"{self.evaluation}:specs"
        self.queue = f"{self.evaluation}:queue"
        self.results = f"{self.evaluation}:results"
        self.trajectories = f"{self.evaluation}:trajectories"
        self.events = f"{self.evaluation}:events"


def _fence(lease: Lease) -> _Arguments:
    """What the scripts recognise a lease by: their first four arguments."""
    return [_GROUP, lease.entry, lease.consumer, lease.deliveries]


def _pack(result: EpisodeResult) -> tuple[str, bytes]:
    """A result as the results hold it, and as the trajectories do."""
    return result.light().model_dump_json(), zlib.compress(result.model_dump_json().encode())


def _milliseconds(created: str) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def _leased(pending: Mapping[str, int] | Exception) -> int:
    """How many leases a queue has out; without a queue Redis answers with an error."""
    return 0 if isinstance(pending, Exception) else pending["pending"]


def _status(row: Mapping[str, str], running: int) -> EvaluationStatus:
    evaluation = Evaluation.model_validate_json(row["evaluation"])
    finished = int(row.get("finished", 0))
    return EvaluationStatus(
        id=evaluation.id,
        request=evaluation.request,
        state=_state(row, evaluation.episodes - finished, running),
        created=evaluation.created,
        versions=evaluation.versions,
        episodes=evaluation.episodes,
        finished=finished,
        errored=int(row.get("errored", 0)),
        running=running,
        mean_score=int(row.get("score_sum", 0)) / finished if finished else None,
        agent_name=name_of(evaluation.request.agent),
    )


def _state(
    row: Mapping[str, str], unfinished: int, running: int
) -> Literal["queued", "running", "cancelled", "finished"]:
    if not unfinished:
        return "finished"
    if "cancelled" in row:
        return "cancelled"
    return "running" if running or int(row.get("finished", 0)) else "queued"
