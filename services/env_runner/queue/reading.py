"""The half of the job store that only reads: evaluations, statuses, manifests, results and events."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from services.env_runner.queue.connection import Connection
from services.env_runner.queue.keys import DEAD, EVALUATIONS, GROUP, Keys
from services.env_runner.queue.lease import Event
from services.env_runner.queue.records import leased, status
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import NotFound
from waymark.runs import Evaluation

PAGE = 500
"""Entries read or written at once where there may be very many."""


class JobReader(Connection):
    """What is in Redis. Every method may raise JobStoreUnavailable."""

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """What was submitted. Raises NotFound."""
        with self._seam():
            text = self._redis.hget(Keys(evaluation_id).evaluation, "evaluation")
        if text is None:
            raise NotFound(f"No evaluation {evaluation_id!r}.", remedy="GET /v1/evaluations lists them.")
        return Evaluation.model_validate_json(text)

    def ids(self) -> list[str]:
        """Every evaluation, oldest first."""
        with self._seam():
            found: list[str] = self._redis.zrange(EVALUATIONS, 0, -1)
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
            place = -1 if before is None else self._redis.zrevrank(EVALUATIONS, before)
            if place is None:
                raise NotFound(f"No evaluation {before!r}.", remedy="GET /v1/evaluations lists them.")
            ids = self._redis.zrevrange(EVALUATIONS, place + 1, place + count)
        return self._statuses(ids)

    def specs(self, evaluation_id: str, *, first: int = 0, count: int | None = None) -> list[EpisodeSpec]:
        """The manifest, in order of play; empty for an unknown evaluation.

        Of it the `count` episodes (None: all) from place `first` on.
        """
        keys = Keys(evaluation_id)
        with self._seam():
            manifest = self._redis.lrange(keys.manifest, first, -1 if count is None else first + count - 1)
            found = self._redis.hmget(keys.specs, manifest) if manifest else []
        return [EpisodeSpec.model_validate_json(text) for text in found]

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
            streams = self._redis.xread({key: cursors[one] for key, one in evaluations.items()}, count=PAGE)
        return [
            Event(evaluations[key], cursor, EpisodeResult.model_validate_json(fields["result"]))
            for key, entries in streams
            for cursor, fields in entries
        ]

    def dead(self) -> list[EpisodeSpec]:
        """The episodes that were given up, oldest first."""
        with self._seam():
            entries = self._redis.xrange(DEAD)
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
                batch.xpending(keys.queue, GROUP)
            answers = batch.execute(raise_on_error=False)
        rows, pending = answers[::2], answers[1::2]
        return [status(row, leased(leases)) for row, leases in zip(rows, pending, strict=True) if row]
