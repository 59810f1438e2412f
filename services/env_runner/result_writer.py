"""Writes every committed episode to its run folder, and restores an evaluation from its folder.

It follows the commits in Redis, not the workers. So each episode is written once, however often it was played, and
results that were committed while the app was down are written after its start. One env-runner app at a time may write
to a runs folder.

Evaluations are independent. If the folder or the records of one cannot be used, it is set aside and tried again with
back-off, while all others are written. A folder that is deleted while its evaluation plays is written again from Redis.
So is a file in it that has become shorter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.env_runner.queue import JobStore
from services.env_runner.queue.job_reader import PAGE, Entry
from services.env_runner.set_aside_evaluations import SetAsides
from waymark.command_hints import command
from waymark.contracts import EpisodeResult
from waymark.contracts.health import StorageHealth
from waymark.errors import InvalidInput, JobStoreUnavailable, NotFound, RecordDamaged, StorageUnavailable, WaymarkError
from waymark.evaluation.checkpoint_identity import check_results
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, Evaluation, RunFolder
from waymark.evaluation.writable_folders import check_plain_file, check_writable, unavailable
from waymark.serving.background_tasks import utc_now
from waymark.worlds.registry import world_of

_PROBE_SECONDS = 10.0
"""Seconds between two tests of the runs folder."""
_PROBE_BYTES = 4_096
_SUBMIT_BYTES = 65_536
"""Bytes that must be writable for an evaluation to be accepted."""
_TURN_SECONDS = 0.5
"""Seconds for which results are written in one call; a submission waits meanwhile."""
_AUDIT_SECONDS = 5.0
"""Seconds between two comparisons of the written results with the folder and with Redis, which also run without new
results."""
_MOVE_AWAY = "Move the folder away; it is made anew from Redis then."
_PLAY_AGAIN = "All others are on disk. Submit the evaluation again to have these played again."
_log = logging.getLogger(__name__)


def _no_beat() -> None:
    """The default `beat`, for callers that do not watch the progress."""


@dataclass
class _Followed:
    """The state of an evaluation on disk."""

    evaluation: Evaluation
    folder: RunFolder
    written: dict[str, int]
    """Episode id to a hash of its light result. An episode that was played again has another hash and is written
    again."""
    mark: tuple[tuple[int, int] | None, ...]
    """The mark of the folder after the last write; another mark means that something else has changed it."""
    cursor: str = "0"
    announced: set[str] = field(default_factory=set)
    """Ids of the episodes whose commit was seen."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Events and episodes that could not be read, and why."""
    audited: float = float("-inf")
    """When it was last compared with Redis, on the monotonic clock."""

    @property
    def complete(self) -> bool:
        """Whether every episode's commit was seen and written."""
        return len(self.announced) == self.evaluation.episodes

    def intact(self) -> bool:
        """Whether the folder is unchanged since the last write."""
        return self.folder.mark() == self.mark


class ResultKeeper:
    """Follows the commits of all evaluations. Not thread-safe: one caller at a time, besides those who read reports."""

    def __init__(self, store: JobStore, runs: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._settled: set[str] = set()
        """On disk to their last episode: not followed any more."""
        self._probed = float("-inf")
        self._until = float("inf")
        """When the call under way has to stop, on the monotonic clock."""
        self._served = ""
        """The evaluation that was written last."""
        self.behind: set[str] = set()
        """Evaluations with results that the last call had no time for."""
        self.set_aside = SetAsides("written", clock=clock)
        self.runs_problem: StorageHealth | None = None
        """Why nothing at all can be written, if that is so."""

    def folder(self, evaluation_id: str) -> RunFolder:
        """The folder of an evaluation's results."""
        return RunFolder(self._runs / evaluation_id)

    # --- submission ----------------------------------------------------------------------------------------

    def prepare(self, evaluation: Evaluation) -> None:
        """Make the folder of an evaluation before it is enqueued. Raises StorageUnavailable, InvalidInput."""
        check_writable(self._runs, size=_SUBMIT_BYTES)
        self._begin_folder(evaluation)

    def discard(self, evaluation_id: str) -> None:
        """Remove the folder of an evaluation that was prepared and not enqueued; one with episodes stays."""
        folder = self.folder(evaluation_id)
        with suppress(OSError):
            if not (folder.path / EPISODES).exists():
                (folder.path / HEADER).unlink(missing_ok=True)
                folder.path.rmdir()

    # --- writing -------------------------------------------------------------------------------------------

    def follow(self, evaluation_id: str) -> None:
        """Write this evaluation from now on, beginning with the results that its folder lacks; sets it aside if that
        fails.

        To be called again when episodes are played again. Raises JobStoreUnavailable.
        """
        self._settled.discard(evaluation_id)
        self._followed.pop(evaluation_id, None)
        self._attempt(evaluation_id, None)

    def catch_up(self, *, only: str | None = None, final: bool = False, beat: Callable[[], None] = _no_beat) -> int:
        """Write what was committed since the last call; returns how many episodes that were.

        A call takes about half a second at most. `behind` then names the evaluations for which it had no time: call
        again. `only`: write only this evaluation. `final`: write all, including those that are set aside, without
        regard to their pauses, and those whose folders are gone. `beat` is called whenever there is progress.
        """
        ids = self._store.ids()
        self.set_aside.keep_only(set(ids))
        self._probe(final)
        if final:
            self._settled = {name for name in self._settled if self._is_there(name)}
        wanted = [name for name in ids if name not in self._settled and (final or self.set_aside.due(name))]
        wanted = [name for name in wanted if only in (None, name)]
        if self._served in wanted:  # in turns, so that a long one keeps no other from being written
            first = wanted.index(self._served) + 1
            wanted = wanted[first:] + wanted[:first]
        self.behind -= {only} if only else set(self.behind)
        new = self._store.entries({name: self._followed[name].cursor for name in wanted if name in self._followed})
        count = 0
        self._until = float("inf") if final else self._clock() + _TURN_SECONDS
        for place, evaluation_id in enumerate(wanted):
            beat()
            if place and self._is_late():
                self.behind.add(evaluation_id)
            else:
                self._served = evaluation_id
                count += self._attempt(evaluation_id, new.get(evaluation_id), final=final)
        beat()
        return count

    @property
    def unwritten(self) -> bool:
        """Whether results may be missing on disk after the last call of `catch_up`."""
        return bool(self.set_aside.report())

    def _attempt(self, evaluation_id: str, new: Sequence[Entry] | RecordDamaged | None, *, final: bool = False) -> int:
        """Write the new results of one evaluation, or set it aside. Raises only JobStoreUnavailable."""
        count = 0
        try:
            if isinstance(new, RecordDamaged):
                raise new
            count = self._advance(evaluation_id, new, final=final)
        except JobStoreUnavailable:
            raise
        except OSError as error:
            self._give_up(evaluation_id, unavailable(self.folder(evaluation_id).path, error))
        except NotFound:
            self._give_up(evaluation_id, self._lost_in_redis(evaluation_id))
        except WaymarkError as error:
            self._give_up(evaluation_id, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other evaluations have nothing to do with it
            if evaluation_id not in self.set_aside:
                _log.exception("The results of %s cannot be written", evaluation_id)
            failure = WaymarkError(f"{type(error).__name__}: {error}", remedy="The env-runner's log says more.")
            self._give_up(evaluation_id, failure)
        return count

    def _is_late(self) -> bool:
        return self._clock() > self._until

    def _is_there(self, evaluation_id: str) -> bool:
        try:
            return None not in self.folder(evaluation_id).mark()
        except OSError:
            return False

    def _give_up(self, evaluation_id: str, error: WaymarkError) -> None:
        self._followed.pop(evaluation_id, None)
        self.set_aside.put(evaluation_id, error)

    def _advance(self, evaluation_id: str, new: Sequence[Entry] | None, *, final: bool) -> int:
        followed = self._followed.get(evaluation_id)
        audit = final or followed is None or self._clock() - followed.audited >= _AUDIT_SECONDS
        if followed is None or new is None or ((new or audit) and self._was_changed(followed)):
            if followed is not None and new is not None:
                _log.warning("The folder of %s was changed by somebody else: it is completed.", evaluation_id)
            followed = self._followed[evaluation_id] = self._begin(evaluation_id)
            new = self._read_entries(followed)
        count = 0
        while new:
            for entry in new:
                count += self._write_entry(followed, entry)
                if self._is_late():
                    self.behind.add(evaluation_id)
                    return count
            new = self._read_entries(followed) if len(new) >= PAGE else ()
        if audit and not followed.complete:
            count += self._audit(followed)
        if followed.complete:
            del self._followed[evaluation_id]
            self._settled.add(evaluation_id)
        elif followed.unreadable:
            # It is still followed. Set aside means here that it is checked less often, and reported.
            why = next(iter(followed.unreadable.values()))
            self._give_up(
                evaluation_id,
                RecordDamaged(f"{len(followed.unreadable)} of its results cannot be read: {why}", remedy=_PLAY_AGAIN),
            )
            return count
        self.set_aside.clear(evaluation_id)
        return count

    def _was_changed(self, followed: _Followed) -> bool:
        """Whether a folder has changed since the last write; a cancelled evaluation's folder may change."""
        return not followed.intact() and self._store.status(followed.evaluation.id).state != "cancelled"

    def _begin(self, evaluation_id: str) -> _Followed:
        """Make a folder ready and see what is in it."""
        evaluation = self._store.evaluation(evaluation_id)
        folder = self._begin_folder(evaluation)
        try:
            written = {light.id: hash(light) for light in folder.lights()}
        except InvalidInput as error:
            error.remedy = _MOVE_AWAY
            raise
        return _Followed(evaluation, folder, written, folder.mark())

    def _begin_folder(self, evaluation: Evaluation) -> RunFolder:
        """The folder of an evaluation with its header. Raises StorageUnavailable; InvalidInput for the folder of
        another evaluation.
        """
        folder = self.folder(evaluation.id)
        for name in (HEADER, EPISODES):
            check_plain_file(folder.path / name)
        try:
            if folder.exists():
                there = folder.evaluation()
                if (there.id, there.request) != (evaluation.id, evaluation.request):
                    raise InvalidInput(
                        f"{folder.path} holds another evaluation, {there.id}.",
                        remedy=_MOVE_AWAY,
                        field="evaluation_id",
                    )
            folder.begin(evaluation)
        except OSError as error:
            raise unavailable(folder.path, error) from error
        except InvalidInput as error:
            error.remedy = _MOVE_AWAY
            raise
        return folder

    def _read_entries(self, followed: _Followed) -> Sequence[Entry]:
        evaluation_id = followed.evaluation.id
        entries = self._store.entries({evaluation_id: followed.cursor})[evaluation_id]
        if isinstance(entries, RecordDamaged):
            raise entries
        return entries

    def _write_entry(self, followed: _Followed, entry: Entry) -> int:
        count = 0
        try:
            result = entry.result()
        except RecordDamaged as error:
            followed.unreadable[entry.cursor] = error.message
        else:
            count = self._write(followed, result)
        followed.cursor = entry.cursor
        return count

    def _write(self, followed: _Followed, light: EpisodeResult) -> int:
        """Write one result unless it is there; returns how many that were. Raises OSError."""
        if followed.written.get(light.id) == hash(light):
            followed.announced.add(light.id)
            return 0
        evaluation_id = followed.evaluation.id
        try:
            result = self._store.episode(evaluation_id, light.id)
        except NotFound:
            if self._store.light_result(evaluation_id, light.id) is not None:
                followed.unreadable[light.id] = f"Redis has lost the turns of episode {light.id}."
            return 0  # else the result was taken back meanwhile, to play it again
        except RecordDamaged as error:
            followed.unreadable[light.id] = error.message
            return 0
        followed.folder.append(result)
        followed.mark = followed.folder.mark()
        followed.written[light.id] = hash(light)
        followed.announced.add(light.id)
        return 1

    def _audit(self, followed: _Followed) -> int:
        """Write results whose events are missing. Raises RecordDamaged where results are, NotFound where all is."""
        followed.audited = self._clock()
        evaluation_id = followed.evaluation.id
        self._store.evaluation(evaluation_id)
        counted, there = self._store.count_finished(evaluation_id)
        count = 0
        if there != len(followed.announced):
            for episode in sorted(self._store.finished(evaluation_id) - followed.announced):
                count += self._write_unannounced(followed, episode)
        if there < counted and self._store.count_finished(evaluation_id) == (counted, there):
            raise RecordDamaged(
                f"Redis has lost {counted - there} of {counted} results of the evaluation {evaluation_id}.",
                remedy="What is on disk stays; cancel the evaluation, or submit it again.",
            )
        return count

    def _write_unannounced(self, followed: _Followed, episode: str) -> int:
        """Write a result that no event tells of."""
        try:
            light = self._store.light_result(followed.evaluation.id, episode)
        except RecordDamaged as error:
            followed.unreadable[episode] = error.message
            return 0
        return 0 if light is None else self._write(followed, light)

    def _probe(self, final: bool) -> None:
        """Test the folder of all runs now and then."""
        if not final and self._clock() - self._probed < _PROBE_SECONDS:
            return
        self._probed = self._clock()
        try:
            check_writable(self._runs, size=_PROBE_BYTES)
        except StorageUnavailable as error:
            if self.runs_problem is None:
                _log.error("No results can be written: %s", error)
                self.runs_problem = StorageHealth(since=utc_now(), problem=error.message, remedy=error.remedy)
        else:
            self.runs_problem = None

    def _lost_in_redis(self, evaluation_id: str) -> RecordDamaged:
        folder = self.folder(evaluation_id)
        with suppress(OSError):
            if folder.exists():
                remedy = f"Take it back from its folder: `{command('resume', folder.path)}`, or POST …/resume."
                return RecordDamaged(f"Redis has lost the evaluation {evaluation_id}.", remedy=remedy)
        return RecordDamaged(
            f"Redis has lost the evaluation {evaluation_id}, and it has no folder.",
            remedy=f"Submit it again; redis-cli ZREM waymark:evaluations {evaluation_id} removes it from the list.",
        )

    # --- back from disk ------------------------------------------------------------------------------------

    def lost(self, evaluation_id: str) -> Evaluation | None:
        """An evaluation that is on disk and not in Redis; None if it is there.

        Raises NotFound if it is nowhere, InvalidInput if its folder holds another.
        """
        try:
            self._store.evaluation(evaluation_id)
        except NotFound:
            folder = self.folder(evaluation_id)
            try:
                if not folder.exists():
                    raise
                check_plain_file(folder.path / HEADER)
                evaluation = folder.evaluation()
            except OSError as error:
                raise unavailable(folder.path, error) from error
            if evaluation.id != evaluation_id:
                raise InvalidInput(
                    f"The folder {evaluation_id} holds the evaluation {evaluation.id}.",
                    remedy="Give the folder its old name again.",
                    field="evaluation_id",
                ) from None
            return evaluation
        return None

    def restore(self, evaluation_id: str) -> None:
        """Restore an evaluation that Redis has lost from its folder; does nothing if Redis knows it.

        Raises NotFound, InvalidInput, StorageUnavailable.
        """
        evaluation = self.lost(evaluation_id)
        if evaluation is not None:
            specs = episodes(evaluation.id, evaluation.request, world_of(evaluation.versions.environment))
            folder = self._begin_folder(evaluation)
            self._store.restore(evaluation, specs, _of(evaluation, {spec.id for spec in specs}, folder))


def _of(evaluation: Evaluation, manifest: set[str], folder: RunFolder) -> Iterator[EpisodeResult]:
    """The results in a folder.

    Raises InvalidInput for one that the manifest does not list, or that another checkpoint made than the evaluation's.
    """
    for result in folder.checked_results():
        if result.id not in manifest:
            raise InvalidInput(
                f"{folder.path} holds episode {result.id}, which its request does not contain.",
                remedy="Another version of waymark wrote it: continue with that version, or begin a new evaluation.",
                field="evaluation_id",
            )
        check_results(evaluation.id, evaluation.versions, [result])
        yield result
