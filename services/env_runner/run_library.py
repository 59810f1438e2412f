"""One list of all runs: those in Redis, and those that are only in run folders.

Redis is asked first. A folder is read only if it is a plain directory directly below the runs folder (or one that the
user named), and only regular files in it: no symbolic link or FIFO leads elsewhere. A folder is read again when its
files have changed.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.env_runner.queue import JobStore
from services.env_runner.run_notes import RunNotes, check_regular, read_notes, write_notes
from waymark.agent.named_agents import name_of
from waymark.contracts import Contract, EpisodeResult, EpisodeSpec, EvaluationStatus
from waymark.errors import InvalidInput, NotFound, WaymarkError
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, Evaluation, RunFolder
from waymark.evaluation.scores import world_played
from waymark.worlds.registry import DEFAULT_WORLD

MOST_FOLDERS: Final = 5_000
"""Largest number of run folders that are listed. If there are more, those whose names come last are listed."""
_RESULTS_AT_ONCE: Final = 100
"""Number of results that are read at once when all are read."""
_KEPT: Final = 8
"""Folders whose light results are kept in memory."""
_FOLDER_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")

_Mark = tuple[tuple[int, int] | None, ...]


class RunEntry(Contract):
    """One run of the list."""

    status: EvaluationStatus
    """Without its versions. The state of a run that is only on disk is `finished`, or `cancelled` if episodes lack."""
    notes: RunNotes
    on_disk_only: bool
    """True if Redis does not know the run, because another stack played it."""
    world: str = DEFAULT_WORLD
    """The world that it plays, as `GET /v1/worlds` names it."""


class RunList(Contract):
    """Answer of `GET /v1/runs`: the newest first."""

    items: tuple[RunEntry, ...]


@dataclass(frozen=True)
class _Summary:
    mark: _Mark
    status: EvaluationStatus


class RunLibrary:
    """Reads runs from Redis or from their folders. Thread-safe.

    `runs` is the folder of all runs; `named` maps the ids of further run folders to the folders.
    """

    def __init__(self, store: JobStore | None, runs: Path | None, named: Mapping[str, Path] | None = None) -> None:
        self._store = store
        self._runs = runs
        self._named = dict(named or {})
        self._summaries: dict[str, _Summary] = {}
        self._lights: OrderedDict[str, tuple[_Mark, list[EpisodeResult]]] = OrderedDict()
        self._lock = threading.Lock()

    # --- the list ----------------------------------------------------------------------------------------

    def entries(self) -> list[RunEntry]:
        """Every run, the newest first. A folder that cannot be read is left out. Raises JobStoreUnavailable."""
        return self.entries_and_problems()[0]

    def entries_and_problems(self) -> tuple[list[RunEntry], dict[str, str]]:
        """Every run, the newest first; and why folders are left out, by their names. Raises JobStoreUnavailable."""
        known = {status.id: status for status in self._store.statuses()} if self._store is not None else {}
        entries = [_entry(status, self.notes(status.id), on_disk_only=False) for status in known.values()]
        problems: dict[str, str] = {}
        for name in self._folder_names():
            if name not in known:
                try:
                    entries.append(_entry(self._folder_status(name), self.notes(name), on_disk_only=True))
                except NotFound:  # not a run's folder
                    if name in self._named:
                        problems[name] = f"{_irregular(self._named[name])} is not a regular file."
                except (WaymarkError, OSError) as error:
                    problems[name] = str(error)
        return sorted(entries, key=lambda entry: (entry.status.created, entry.status.id), reverse=True), problems

    def _folder_names(self) -> list[str]:
        names: list[str] = []
        if self._runs is not None:
            with suppress(OSError), os.scandir(self._runs) as entries:
                names = [
                    entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and _is_name(entry.name)
                ]
        return [*self._named, *sorted(names)[-MOST_FOLDERS:]]

    def newest(self, count: int, *, before: str | None = None) -> list[EvaluationStatus]:
        """As `JobStore.newest`; without a store, those of the folders."""
        if self._store is not None:
            return self._store.newest(count, before=before)
        statuses = [entry.status for entry in self.entries()]
        if before is None:
            return statuses[:count]
        places = [place for place, status in enumerate(statuses) if status.id == before]
        if not places:
            raise NotFound(f"No evaluation {before!r}.", remedy="GET /v1/evaluations lists them.")
        return statuses[places[0] + 1 :][:count]

    # --- one run -----------------------------------------------------------------------------------------

    def on_disk_only(self, run: str) -> bool:
        """Whether only a folder holds it. Raises NotFound if neither Redis nor a folder does."""
        if self._store is not None:
            with suppress(NotFound):
                self._store.evaluation(run)
                return False
        self._folder(run)
        return True

    def evaluation(self, run: str) -> Evaluation:
        """The evaluation's request and versions. Raises NotFound."""
        return self._recorded(run).model_copy(update={"id": run})

    def _recorded(self, run: str) -> Evaluation:
        """The evaluation under the id that it was played with, which a named folder may be shown without."""
        if self._store is not None:
            with suppress(NotFound):
                return self._store.evaluation(run)
        return self._folder(run).evaluation()

    def status(self, run: str) -> EvaluationStatus:
        """Its status. Raises NotFound."""
        if self._store is not None:
            with suppress(NotFound):
                return self._store.status(run)
        return self._folder_status(run)

    def specs(self, run: str, *, first: int = 0, count: int | None = None) -> list[EpisodeSpec]:
        """Its episodes in order of play. Raises NotFound."""
        if self._store is not None:
            specs = self._store.specs(run, first=first, count=count)
            if specs or not self.on_disk_only(run):
                return specs
        specs = _specs(self._folder(run).evaluation())
        return specs[first:] if count is None else specs[first : first + count]

    def results(self, run: str, *, first: int = 0, count: int | None = None) -> list[EpisodeResult]:
        """Light results in order of play. Raises NotFound, InvalidInput for a damaged folder."""
        if self._store is not None:
            with suppress(NotFound):
                return self._store.results(run, first=first, count=count)
        results = self._folder_results(run)
        if first == 0 and count is None:
            return results
        wanted = {spec.id for spec in self.specs(run, first=first, count=count)}
        return [result for result in results if result.id in wanted]

    def episode(self, run: str, episode: str) -> EpisodeResult:
        """One whole result. Raises NotFound."""
        if self._store is not None:
            with suppress(NotFound):
                return self._store.episode(run, episode)
        result = self._folder(run).result(episode)
        if result is None:
            raise NotFound(
                f"No finished episode {episode!r} in evaluation {run!r}.",
                remedy=f"GET /v1/evaluations/{run}/results lists the finished ones.",
            )
        return result

    def whole_results(self, run: str) -> Iterator[EpisodeResult]:
        """All results with their turns, one after another, in the order of play. Raises as `results` and `episode`."""
        if self.on_disk_only(run):
            yield from self._folder(run).results([spec.id for spec in self.specs(run)])
            return
        for first in range(0, self.evaluation(run).episodes, _RESULTS_AT_ONCE):
            for light in self.results(run, first=first, count=_RESULTS_AT_ONCE):
                with suppress(NotFound):  # taken back meanwhile, to be played again
                    yield self.episode(run, light.id)

    def plays_of(self, run: str, task: str, variation: int) -> list[EpisodeResult]:
        """The finished plays of one variation, at most one for each repeat. No other episode is read.

        Raises NotFound for a run that is not there, InvalidInput for a variation that its world does not have.
        """
        evaluation = self._recorded(run)
        alone = {"tasks": (task,), "variations": (variation,)}
        request = evaluation.request.model_copy(update=alone)
        results: list[EpisodeResult] = []
        for spec in _specs(evaluation.model_copy(update={"request": request})):
            with suppress(NotFound):
                results.append(self.episode(run, spec.id))
        return results

    # --- notes -------------------------------------------------------------------------------------------

    def notes(self, run: str) -> RunNotes:
        """The notes about a run; empty if there are none or they cannot be read."""
        with suppress(NotFound, InvalidInput, OSError):
            return read_notes(self._folder(run).path)
        return RunNotes()

    def write_notes(self, run: str, notes: RunNotes) -> RunNotes:
        """Keep notes in the run's folder. Raises NotFound, StorageUnavailable."""
        write_notes(self._folder(run).path, notes)
        return notes

    # --- folders -----------------------------------------------------------------------------------------

    def _folder(self, run: str) -> RunFolder:
        """The folder of a run. Raises NotFound for none, and for one that is not plainly below the runs folder."""
        path = self._named.get(run)
        if path is None and self._runs is not None and _is_name(run):
            path = self._runs / run
        if path is not None:
            with suppress(OSError):
                kind = path.stat().st_mode if run in self._named else path.lstat().st_mode
                if stat.S_ISDIR(kind):
                    check_regular(path / HEADER)
                    with suppress(FileNotFoundError):
                        check_regular(path / EPISODES)
                    return RunFolder(path)
        raise NotFound(f"No evaluation {run!r}.", remedy="GET /v1/runs lists them.")

    def _folder_status(self, run: str) -> EvaluationStatus:
        folder = self._folder(run)
        mark = folder.mark()
        with self._lock:
            known = self._summaries.get(run)
        if known is not None and known.mark == mark:
            return known.status
        evaluation = folder.evaluation()
        counted = folder.checked_lights()
        errored = sum(result.error is not None for result in counted)
        status = EvaluationStatus(
            id=run,
            request=evaluation.request,
            state="finished" if len(counted) >= evaluation.episodes else "cancelled",
            created=evaluation.created,
            versions=evaluation.versions,
            episodes=evaluation.episodes,
            finished=len(counted),
            errored=errored,
            running=0,
            mean_score=sum(result.score for result in counted) / len(counted) if counted else None,
            agent_name=name_of(evaluation.request.agent),
        )
        with self._lock:
            self._summaries[run] = _Summary(mark, status)
        return status

    def _folder_results(self, run: str) -> list[EpisodeResult]:
        folder = self._folder(run)
        mark = folder.mark()
        with self._lock:
            known = self._lights.get(run)
            if known is not None and known[0] == mark:
                self._lights.move_to_end(run)
                return known[1]
        evaluation = folder.evaluation()
        places = {spec.id: place for place, spec in enumerate(_specs(evaluation))}
        lights = sorted(folder.checked_lights(), key=lambda result: places.get(result.id, len(places)))
        with self._lock:
            self._lights[run] = (mark, lights)
            while len(self._lights) > _KEPT:
                self._lights.popitem(last=False)
        return lights


def _irregular(folder: Path) -> Path:
    """The file of a run that is no regular file."""
    paths = [folder / HEADER, folder / EPISODES]
    return next((path for path in paths if os.path.lexists(path) and not path.is_file()), folder)


def name_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """The run folders that a user named, by the id under which each is shown.

    A folder of run folders means all of them. Raises NotFound for a path that is neither.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        runs = [folder] if RunFolder(folder).exists() else []
        if not runs and folder.is_dir():
            runs = sorted(path for path in folder.iterdir() if RunFolder(path).exists())
        if not runs:
            raise NotFound(f"No run at {folder}: it has no {HEADER}.", remedy="Name run folders, or a folder of them.")
        for run in runs:
            base = re.sub(r"[^0-9A-Za-z._-]", "-", run.resolve().name)[:90].lstrip("._-") or "run"
            name, number = base, 2
            while name in named and named[name] != run:
                name, number = f"{base}-{number}", number + 1
            named[name] = run
    return named


def _is_name(name: str) -> bool:
    return _FOLDER_NAME.fullmatch(name) is not None


def _specs(evaluation: Evaluation) -> list[EpisodeSpec]:
    """The episodes of an evaluation, in order of play."""
    return episodes(evaluation.id, evaluation.request, world_played(evaluation.versions))


def _entry(status: EvaluationStatus, notes: RunNotes, *, on_disk_only: bool) -> RunEntry:
    world = status.versions.environment.partition(" ")[0] if status.versions else DEFAULT_WORLD
    brief = status.model_copy(update={"versions": None})
    return RunEntry(status=brief, notes=notes, on_disk_only=on_disk_only, world=world)
