"""Evaluation jobs on Redis Streams: who plays which episode, and what came of it, each counted exactly once.

The only import of redis; needs Redis 6.2 with AOF and `noeviction`. Calls block for under a millisecond on a
local Redis (`lease` for as long as it is told) and are safe from several threads.

    key                                 type    holds
    waymark:evaluations                 zset    evaluation id by its time of creation
    waymark:episodes                    stream  one entry an episode that waits or is being played: episode,
                                                evaluation, spec; its consumer group `workers` holds the leases
    waymark:dead                        stream  episodes given up after MAX_DELIVERIES: episode, evaluation, spec
    waymark:evaluation:ID               hash    evaluation (JSON), cancelled, and the counters finished, errored,
                                                score_sum
    waymark:evaluation:ID:manifest      list    EpisodeSpec JSON of every episode, in order of play
    waymark:evaluation:ID:results       hash    episode id to EpisodeResult JSON without its turns
    waymark:evaluation:ID:trajectories  hash    episode id to the whole EpisodeResult, zlib over JSON
    waymark:evaluation:ID:events        stream  result: the same JSON as in results, in order of commit

The manifest is the truth. Whatever it lists and neither the results nor the stream hold is enqueued by
`enqueue`: the first submission, a resumption and the recovery of a lost stream are the same call.

A lease is a stream entry delivered to a consumer. Consumer and delivery count together fence it: once another
has claimed the entry, or a cancellation has removed it, renewal tells its holder to stop and a commit is refused.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import redis

from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import JobStoreUnavailable, NotFound
from waymark.runs import Evaluation

MAX_DELIVERIES = 3
"""An episode delivered more often than this goes to the dead-letter stream and is reported as errored."""

_Arguments = list[str | bytes | int]
"""Of a script."""
_EVALUATIONS = "waymark:evaluations"
_STREAM = "waymark:episodes"
_DEAD = "waymark:dead"
_GROUP = "workers"
_RELEASED_MS = 24 * 3_600_000
"""Idle time given to a released entry: abandoned by any measure, so that the next lease takes it at once."""

_ENQUEUE = """
-- KEYS: stream, manifest, results, evaluation. ARGV: evaluation id, group.
-- Adds what the manifest lists and neither the results nor the stream hold; returns how many.
if redis.call('HEXISTS', KEYS[4], 'cancelled') == 1 then return 0 end
local there = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do there[entry[2][2]] = true end
local added = 0
for _, spec in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local episode = cjson.decode(spec)['id']
    if not there[episode] and redis.call('HEXISTS', KEYS[3], episode) == 0 then
        redis.call('XADD', KEYS[1], '*', 'episode', episode, 'evaluation', ARGV[1], 'spec', spec)
        added = added + 1
    end
end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[2], '0', 'MKSTREAM')
return added
"""

_HOLDS = """
local function holds(stream, group, entry, consumer, deliveries)
    local pending = redis.call('XPENDING', stream, group, entry, entry, 1)[1]
    return pending and pending[2] == consumer and pending[4] == tonumber(deliveries)
end
"""

_RENEW = (
    _HOLDS
    + """
-- KEYS: stream. ARGV: group, entry, consumer, deliveries. Returns 1 while the lease holds.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID')
return 1
"""
)

_RELEASE = (
    _HOLDS
    + """
-- KEYS: stream. ARGV: group, entry, consumer, deliveries, idle ms, delivery count to leave behind.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'IDLE', ARGV[5], 'RETRYCOUNT', ARGV[6], 'JUSTID')
return 1
"""
)

_COMMIT = (
    _HOLDS
    + """
-- KEYS: stream, evaluation, results, trajectories, events, dead.
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
    if ARGV[10] == '1' then
        redis.call('XADD', KEYS[6], '*', 'episode', ARGV[5], 'evaluation', ARGV[11], 'spec', ARGV[12])
    end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
return stored
"""
)

_CANCEL = """
-- KEYS: stream, evaluation. ARGV: evaluation id, group. Takes every entry of the evaluation off the stream.
redis.call('HSET', KEYS[2], 'cancelled', 1)
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    if entry[2][4] == ARGV[1] then
        redis.pcall('XACK', KEYS[1], ARGV[2], entry[1])
        redis.call('XDEL', KEYS[1], entry[1])
    end
end
"""

_PLAYING = """
-- KEYS: stream. ARGV: group. The evaluation id of every leased episode.
local playing = {}
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)
for _, lease in ipairs(pending) do
    local entry = redis.call('XRANGE', KEYS[1], lease[1], lease[1])[1]
    if entry then playing[#playing + 1] = entry[2][4] end
end
return playing
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

    def __init__(self, url: str, *, lease_seconds: float = 30.0) -> None:
        self._where = _without_password(url)
        self._lease_ms = round(lease_seconds * 1000)
        try:
            self._redis: Any = redis.Redis.from_url(url, decode_responses=True, protocol=2, socket_timeout=10)
            self._bytes: Any = redis.Redis.from_url(url, protocol=2, socket_timeout=10)
        except ValueError as error:
            raise JobStoreUnavailable(
                f"{self._where!r} is no Redis address: {error}.", remedy="Set WAYMARK_REDIS_URL to redis://host:port/0."
            ) from error
        self._enqueue = self._redis.register_script(_ENQUEUE)
        self._renew = self._redis.register_script(_RENEW)
        self._release = self._redis.register_script(_RELEASE)
        self._commit = self._redis.register_script(_COMMIT)
        self._cancel = self._redis.register_script(_CANCEL)
        self._playing = self._redis.register_script(_PLAYING)

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._seam():
            self._redis.ping()

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
        self._bytes.close()

    # --- evaluations ---------------------------------------------------------------------------------------

    def submit(self, evaluation: Evaluation, specs: Sequence[EpisodeSpec]) -> None:
        """Write the manifest, whole or not at all, then enqueue it. A second call with the same id does nothing new."""
        keys = _Keys(evaluation.id)
        with self._seam():
            if not self._redis.exists(keys.evaluation):
                created = datetime.fromisoformat(evaluation.created).timestamp()
                with self._redis.pipeline(transaction=True) as transaction:
                    transaction.delete(keys.manifest)
                    transaction.rpush(keys.manifest, *(spec.model_dump_json() for spec in specs))
                    transaction.hset(keys.evaluation, mapping={"evaluation": evaluation.model_dump_json()})
                    transaction.zadd(_EVALUATIONS, {evaluation.id: created})
                    transaction.execute()
        self.enqueue(evaluation.id)

    def enqueue(self, evaluation_id: str) -> int:
        """Enqueue every episode that has no result and is not on the stream; returns how many. Idempotent."""
        keys = _Keys(evaluation_id)
        with self._seam():
            added: int = self._enqueue(
                keys=[_STREAM, keys.manifest, keys.results, keys.evaluation], args=[evaluation_id, _GROUP]
            )
        return added

    def reconcile(self) -> int:
        """Enqueue the gaps of all evaluations that are neither cancelled nor finished; returns how many there were."""
        return sum(self.enqueue(status.id) for status in self.statuses() if status.state in {"queued", "running"})

    def cancel(self, evaluation_id: str) -> None:
        """Take an evaluation's episodes off the stream; those being played lose their lease. Raises NotFound."""
        self.evaluation(evaluation_id)
        with self._seam():
            self._cancel(keys=[_STREAM, _Keys(evaluation_id).evaluation], args=[evaluation_id, _GROUP])

    def resume(self, evaluation_id: str) -> int:
        """Take back a cancellation and enqueue what has no result; returns how many. Raises NotFound."""
        self.evaluation(evaluation_id)
        with self._seam():
            self._redis.hdel(_Keys(evaluation_id).evaluation, "cancelled")
        return self.enqueue(evaluation_id)

    # --- playing -------------------------------------------------------------------------------------------

    def lease(self, consumer: str, *, wait_seconds: float) -> Lease | None:
        """One episode to play: an abandoned one first, else the next in line, else None after waiting."""
        with self._seam():
            try:
                _, entries = self._redis.xautoclaim(_STREAM, _GROUP, consumer, self._lease_ms, count=1)[:2]
                deliveries = 1
                if entries:
                    pending = self._redis.xpending_range(_STREAM, _GROUP, entries[0][0], entries[0][0], 1, consumer)
                    deliveries = pending[0]["times_delivered"] if pending else 0
                else:
                    block = max(1, round(wait_seconds * 1000))
                    streams = self._redis.xreadgroup(_GROUP, consumer, {_STREAM: ">"}, count=1, block=block)
                    entries = streams[0][1] if streams else []
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self._create_group()
                return None
        if not entries or not entries[0][1] or not deliveries:
            return None
        entry, fields = entries[0]
        return Lease(entry, consumer, deliveries, EpisodeSpec.model_validate_json(fields["spec"]))

    def renew(self, lease: Lease) -> bool:
        """Keep a lease for another period. False: it is lost, or the evaluation was cancelled; stop playing."""
        with self._seam():
            return bool(self._renew(keys=[_STREAM], args=_fence(lease)))

    def release(self, lease: Lease, *, counted: bool) -> None:
        """Give an episode back unplayed, to whoever leases next. `counted`: it counts as a delivery that failed."""
        left = lease.deliveries if counted else lease.deliveries - 1
        with self._seam():
            self._release(keys=[_STREAM], args=[*_fence(lease), _RELEASED_MS, left])

    def commit(self, lease: Lease, result: EpisodeResult) -> bool:
        """Store and count a result exactly once. False: the lease was lost or a result is there; it is dropped."""
        return self._store(lease, result, dead=False)

    def bury(self, lease: Lease, result: EpisodeResult) -> bool:
        """Commit an errored result for an exhausted lease and put the episode on the dead-letter stream."""
        return self._store(lease, result, dead=True)

    def _store(self, lease: Lease, result: EpisodeResult, *, dead: bool) -> bool:
        spec = lease.spec
        keys = _Keys(spec.evaluation)
        light = result.model_copy(update={"trajectory": ()}).model_dump_json()
        full = zlib.compress(result.model_dump_json().encode())
        counted: _Arguments = [result.score, int(result.error is not None)]
        buried: _Arguments = [int(dead), spec.evaluation, spec.model_dump_json()]
        with self._seam():
            stored: int = self._commit(
                keys=[_STREAM, keys.evaluation, keys.results, keys.trajectories, keys.events, _DEAD],
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

    def statuses(self) -> list[EvaluationStatus]:
        """All evaluations, oldest first."""
        with self._seam():
            ids = self._redis.zrange(_EVALUATIONS, 0, -1)
        return self._statuses(ids)

    def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far an evaluation has come. Raises NotFound."""
        found = self._statuses([evaluation_id])
        if not found:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        return found[0]

    def specs(self, evaluation_id: str) -> list[EpisodeSpec]:
        """The manifest, in order of play; empty for an unknown evaluation."""
        with self._seam():
            manifest = self._redis.lrange(_Keys(evaluation_id).manifest, 0, -1)
        return [EpisodeSpec.model_validate_json(text) for text in manifest]

    def results(self, evaluation_id: str) -> list[EpisodeResult]:
        """All results without their turns, in order of the manifest. Raises NotFound."""
        self.evaluation(evaluation_id)
        with self._seam():
            found = self._redis.hgetall(_Keys(evaluation_id).results)
        order = (spec.id for spec in self.specs(evaluation_id))
        return [EpisodeResult.model_validate_json(found[episode]) for episode in order if episode in found]

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
            streams = self._redis.xread({key: cursors[one] for key, one in evaluations.items()}, count=500)
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

    def _create_group(self) -> None:
        """Create the stream's consumer group, unless another worker has just done so."""
        try:
            self._redis.xgroup_create(_STREAM, _GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _statuses(self, ids: Sequence[str]) -> list[EvaluationStatus]:
        with self._seam():
            playing = Counter(self._playing(keys=[_STREAM], args=[_GROUP]))
            with self._redis.pipeline(transaction=False) as batch:
                for evaluation_id in ids:
                    batch.hgetall(_Keys(evaluation_id).evaluation)
                rows = batch.execute()
        return [_status(row, playing) for row in rows if row]

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
        self.evaluation = f"waymark:evaluation:{evaluation_id}"
        self.manifest = f"{self.evaluation}:manifest"
        self.results = f"{self.evaluation}:results"
        self.trajectories = f"{self.evaluation}:trajectories"
        self.events = f"{self.evaluation}:events"


def _fence(lease: Lease) -> _Arguments:
    """What the scripts recognise a lease by: their first four arguments."""
    return [_GROUP, lease.entry, lease.consumer, lease.deliveries]


def _status(row: Mapping[str, str], playing: Mapping[str, int]) -> EvaluationStatus:
    evaluation = Evaluation.model_validate_json(row["evaluation"])
    finished = int(row.get("finished", 0))
    running = playing.get(evaluation.id, 0)
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
    )


def _state(
    row: Mapping[str, str], unfinished: int, running: int
) -> Literal["queued", "running", "cancelled", "finished"]:
    if not unfinished:
        return "finished"
    if "cancelled" in row:
        return "cancelled"
    return "running" if running or int(row.get("finished", 0)) else "queued"


def _without_password(url: str) -> str:
    netloc = urlsplit(url).netloc
    return url.replace(netloc, netloc.rpartition("@")[2]) if netloc else url
