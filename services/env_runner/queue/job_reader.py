"""The half of the job store that only reads: evaluations, statuses, manifests, results and events."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import redis

from services.env_runner.queue.lease import Event
from services.env_runner.queue.manifest import spec_of
from services.env_runner.queue.records import counter, leased, read, status, unpack
from services.env_runner.queue.redis_connection import Connection
from services.env_runner.queue.redis_keys import DEAD, EVALUATIONS, GROUP, Keys
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import NotFound, RecordDamaged, WaymarkError
from waymark.evaluation.requested_episodes import MOST_EPISODES
from waymark.evaluation.run_folder import Evaluation

PAGE = 500
"""Number of entries that are read or written at once."""
_NO_EVENT = "0-0"
_STATUS = ("evaluation", "cancelled", "finished", "errored", "score_sum")
"""The fields that a status needs. The field `shared`, which may be long, is not read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed result in its event, not decoded yet."""

    cursor: str
    text: str | None

    def result(self) -> EpisodeResult:
        """The light result. Raises RecordDamaged."""
        return read(EpisodeResult, self.text, f"the result of event {self.cursor}")


class JobReader(Connection):
    """Reads the records in Redis.

    Every method may raise JobStoreUnavailable. Those that read one evaluation raise RecordDamaged where it cannot be
    read; those that read many leave such an evaluation out.
    """

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """The submitted evaluation. Raises NotFound."""
        with self._translated_errors():
            text = self._redis.hget(Keys(evaluation_id).evaluation, "evaluation")
        if text is None:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        evaluation = read(Evaluation, text, f"the evaluation {evaluation_id}")
        if evaluation.id != evaluation_id:
            raise _misplaced(evaluation_id, evaluation.id)
        return evaluation

    def ids(self) -> list[str]:
        """Every evaluation, oldest first."""
        with self._translated_errors():
            ids: list[str] = self._redis.zrange(EVALUATIONS, 0, -1)
        return ids

    def statuses(self, ids: Sequence[str] | None = None) -> list[EvaluationStatus]:
        """The statuses of these evaluations, or of all, oldest first. Unknown and unreadable ones are left out."""
        statuses = self.look_up(self.ids() if ids is None else ids).values()
        return [status for status in statuses if isinstance(status, EvaluationStatus)]

    def status(self, evaluation_id: str) -> EvaluationStatus:
        """The status of an evaluation. Raises NotFound."""
        status = self.look_up([evaluation_id])[evaluation_id]
        if isinstance(status, WaymarkError):
            raise status
        return status

    def newest(self, count: int, *, before: str | None = None) -> list[EvaluationStatus]:
        """At most `count` evaluations, the newest first; with `before`, those older than this one. Raises NotFound."""
        with self._translated_errors():
            place = -1 if before is None else self._redis.zrevrank(EVALUATIONS, before)
            if place is None:
                raise NotFound(f"No evaluation {before!r}.", remedy="GET /v1/evaluations lists them.")
        statuses: list[EvaluationStatus] = []
        while len(statuses) < count:
            with self._translated_errors():
                ids = self._redis.zrevrange(EVALUATIONS, place + 1, place + count)
            if not ids:
                break
            statuses += self.statuses(ids)
            place += len(ids)
        return statuses[:count]

    def specs(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeSpec]:
        """The manifest, in order of play; empty for an unknown evaluation.

        Of it the `count` episodes (None: all) from place `first` on.
        """
        keys = Keys(evaluation_id)
        with self._translated_errors():
            manifest = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            texts = self._redis.hmget(keys.specs, manifest) if manifest else []
            shared = self._redis.hget(keys.evaluation, "shared") or "{}"
        return [spec_of(episode, own, shared) for episode, own in zip(manifest, texts, strict=True)]

    def results(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeResult]:
        """Results without their turns, in order of the manifest. Raises NotFound.

        Of the `count` episodes (None: all) from place `first` of the manifest on, those that have a result.
        """
        self.evaluation(evaluation_id)
        keys = Keys(evaluation_id)
        with self._translated_errors():
            ids = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            texts = self._redis.hmget(keys.results, ids) if ids else []
        record = f"the results of evaluation {evaluation_id}"
        return [read(EpisodeResult, text, record) for text in texts if text is not None]

    def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One result with every turn. Raises NotFound while there is none."""
        with self._translated_errors():
            full = self._bytes.hget(Keys(evaluation_id).trajectories, episode_id)
        if full is None:
            raise NotFound(
                f"No finished episode {episode_id!r} in evaluation {evaluation_id!r}.",
                remedy=f"GET /v1/evaluations/{evaluation_id}/results lists the finished ones.",
            )
        return unpack(full, f"episode {episode_id} of evaluation {evaluation_id}")

    def events(self, cursors: Mapping[str, str]) -> list[Event]:
        """The results that were committed to each evaluation after its cursor (`0` for all), at most 500 each. Does not
        wait.
        """
        events: list[Event] = []
        for evaluation, entries in self.entries(cursors).items():
            if isinstance(entries, RecordDamaged):
                _log.warning("The events of %s are left out: %s", evaluation, entries)
                continue
            for entry in entries:
                try:
                    events.append(Event(evaluation, entry.cursor, entry.result()))
                except RecordDamaged as error:
                    _log.warning("An event of %s is left out: %s", evaluation, error)
        return events

    def entries(self, cursors: Mapping[str, str]) -> dict[str, list[Entry] | RecordDamaged]:
        """As `events`, not decoded, by evaluation, so that an error affects only one of them."""
        if not cursors:
            return {}
        with self._translated_errors(), self._redis.pipeline(transaction=False) as batch:
            for evaluation, cursor in cursors.items():
                batch.xrange(Keys(evaluation).events, min=f"({cursor}", count=PAGE)
            answers = batch.execute(raise_on_error=False)
        entries: dict[str, list[Entry] | RecordDamaged] = {}
        for evaluation, answer in zip(cursors, answers, strict=True):
            if isinstance(answer, redis.RedisError):
                entries[evaluation] = self._damage(answer)
            else:
                entries[evaluation] = [Entry(cursor, fields.get("result")) for cursor, fields in answer]
        return entries

    def newest_event(self, evaluation_id: str) -> str:
        """The id of the last event; `0-0` where there is none that can be read."""
        with self._translated_errors(), self._redis.pipeline(transaction=False) as batch:
            batch.xrevrange(Keys(evaluation_id).events, count=1)
            [answer] = batch.execute(raise_on_error=False)
        if isinstance(answer, redis.RedisError):
            self._damage(answer)
            return _NO_EVENT
        return str(answer[0][0]) if answer else _NO_EVENT

    def count_finished(self, evaluation_id: str) -> tuple[int, int]:
        """The number of results of an evaluation by its counter, and the number that are stored."""
        keys = Keys(evaluation_id)
        with self._translated_errors():
            counted, there = self._redis.hget(keys.evaluation, "finished"), int(self._redis.hlen(keys.results))
        return counter({"finished": counted} if counted else {}, "finished", 0, MOST_EPISODES), there

    def finished(self, evaluation_id: str) -> set[str]:
        """The ids of the episodes that have a result."""
        with self._translated_errors():
            return set(self._redis.hkeys(Keys(evaluation_id).results))

    def light_result(self, evaluation_id: str, episode_id: str) -> EpisodeResult | None:
        """One result without its turns; None while there is none."""
        with self._translated_errors():
            text = self._redis.hget(Keys(evaluation_id).results, episode_id)
        record = f"the result of episode {episode_id} of evaluation {evaluation_id}"
        return None if text is None else read(EpisodeResult, text, record)

    def dead(self) -> list[EpisodeSpec]:
        """The episodes that were given up, oldest first."""
        with self._translated_errors():
            entries = self._redis.xrange(DEAD)
        return [EpisodeSpec.model_validate_json(fields["spec"]) for _, fields in entries]

    def look_up(self, ids: Sequence[str]) -> dict[str, EvaluationStatus | RecordDamaged | NotFound]:
        """The status of each of these, or the error that prevents reading it."""
        with self._translated_errors(), self._redis.pipeline(transaction=False) as batch:
            for evaluation_id in ids:
                keys = Keys(evaluation_id)
                batch.hmget(keys.evaluation, _STATUS)
                batch.xpending(keys.queue, GROUP)
                batch.get(keys.waiting)
            answers = batch.execute(raise_on_error=False)
        return {
            evaluation_id: self._status(evaluation_id, row, leases, waiting)
            for evaluation_id, row, leases, waiting in zip(ids, answers[::3], answers[1::3], answers[2::3], strict=True)
        }

    def _pages(self, evaluation_id: str) -> Iterator[list[Event]]:
        """All events of an evaluation, a page at a time."""
        cursor = "0"
        while page := self.events({evaluation_id: cursor}):
            yield page
            cursor = page[-1].cursor

    def _status(
        self,
        evaluation_id: str,
        values: Sequence[str | None] | redis.RedisError,
        leases: Mapping[str, int] | Exception,
        waiting: str | redis.RedisError | None,
    ) -> EvaluationStatus | RecordDamaged | NotFound:
        if isinstance(values, redis.RedisError):
            return self._damage(values)
        row = {name: value for name, value in zip(_STATUS, values, strict=True) if value is not None}
        if not row:
            return NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        try:
            waits = None if isinstance(waiting, redis.RedisError) else waiting
            evaluation = status(row, leased(leases), waits)
            return evaluation if evaluation.id == evaluation_id else _misplaced(evaluation_id, evaluation.id)
        except RecordDamaged as error:
            return error

    def _damage(self, error: redis.RedisError) -> RecordDamaged:
        """Return an error of one record; raise an error that concerns all of Redis."""
        failure = self._failure(error)
        if isinstance(failure, RecordDamaged):
            return failure
        raise failure from error


def _misplaced(evaluation_id: str, there: str) -> RecordDamaged:
    return RecordDamaged(
        f"Redis holds the evaluation {there} under the name {evaluation_id}.",
        remedy="Something else has copied or renamed its keys: delete the copy.",
    )
