"""Puts every committed episode on disk, and takes an evaluation back from there: the one keeper of the run folders.

It follows the commits in Redis rather than the workers, so a line is written once however often an episode
was played, and one that was committed while the app was down is written when it is back. One env-runner app
at a time may write to a runs folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.env_runner.jobs import JobStore
from waymark.contracts import EpisodeResult
from waymark.errors import InvalidInput, NotFound
from waymark.protocols import episodes
from waymark.runs import Evaluation, RunFolder

_log = logging.getLogger(__name__)


@dataclass
class _Followed:
    """How far an evaluation is on disk."""

    folder: RunFolder
    episodes: int
    written: dict[str, int]
    """Episode id to a hash of its light result: one that was played again is written again."""
    cursor: str = "0"
    told: set[str] = field(default_factory=set)
    """Episodes whose commit was seen."""


class ResultKeeper:
    """Follows the commits of all evaluations. Not thread-safe: one caller at a time."""

    def __init__(self, store: JobStore, runs: Path) -> None:
        self._store = store
        self._runs = runs
        self._followed: dict[str, _Followed] = {}
        self._settled: set[str] = set()
        """On disk to their last episode, or in a folder that is damaged: not followed any more."""

    def folder(self, evaluation_id: str) -> RunFolder:
        """Where an evaluation's results lie."""
        return RunFolder(self._runs / evaluation_id)

    def follow(self, evaluation_id: str) -> None:
        """Write this evaluation from now on, beginning with what its folder lacks. Raises NotFound.

        To be called again when episodes are played again.
        """
        evaluation = self._store.evaluation(evaluation_id)
        folder = self.folder(evaluation_id)
        folder.begin(evaluation)
        written = {result.id: hash(result.light()) for result in folder.results()}
        self._followed[evaluation_id] = _Followed(folder, evaluation.episodes, written)
        self._settled.discard(evaluation_id)

    def catch_up(self) -> int:
        """Write what was committed since the last call; returns how many episodes that were."""
        for evaluation_id in self._store.ids():
            if evaluation_id not in self._followed and evaluation_id not in self._settled:
                try:
                    self.follow(evaluation_id)
                except InvalidInput as error:
                    _log.error("Results of %s are not written: %s", evaluation_id, error)
                    self._settled.add(evaluation_id)
        count = 0
        for event in self._store.events({name: one.cursor for name, one in self._followed.items()}):
            followed = self._followed[event.evaluation]
            if followed.written.get(event.result.id) != hash(event.result):
                with suppress(NotFound):  # its result was taken back meanwhile, to play it again
                    followed.folder.append(self._store.episode(event.evaluation, event.result.id))
                    followed.written[event.result.id] = hash(event.result)
                    count += 1
            followed.cursor = event.cursor
            followed.told.add(event.result.id)
        for evaluation_id, followed in list(self._followed.items()):
            if len(followed.told) == followed.episodes:
                del self._followed[evaluation_id]
                self._settled.add(evaluation_id)
        return count

    def lost(self, evaluation_id: str) -> Evaluation | None:
        """An evaluation that is on disk and not in Redis; None if it is there.

        Raises NotFound if it is nowhere, InvalidInput if its folder holds another.
        """
        try:
            self._store.evaluation(evaluation_id)
        except NotFound:
            folder = self.folder(evaluation_id)
            if not folder.exists():
                raise
            evaluation = folder.evaluation()
            if evaluation.id != evaluation_id:
                raise InvalidInput(
                    f"The folder {evaluation_id} holds the evaluation {evaluation.id}.",
                    remedy="Give the folder its old name again.",
                    field="evaluation_id",
                ) from None
            return evaluation
        return None

    def restore(self, evaluation_id: str) -> None:
        """Give Redis back what is on disk of an evaluation that it has lost; nothing to do for one that it knows.

        Raises NotFound, InvalidInput.
        """
        evaluation = self.lost(evaluation_id)
        if evaluation is not None:
            specs = episodes(evaluation.id, evaluation.request)
            folder = self.folder(evaluation_id)
            folder.begin(evaluation)
            self._store.restore(evaluation, specs, _of({spec.id for spec in specs}, folder))


def _of(manifest: set[str], folder: RunFolder) -> Iterator[EpisodeResult]:
    """The results in a folder. Raises InvalidInput for one that the manifest does not list."""
    for result in folder.checked_results():
        if result.id not in manifest:
            raise InvalidInput(
                f"{folder.path} holds episode {result.id}, which its request does not lead to.",
                remedy="It was written by another version of waymark: go on with that, or begin a new evaluation.",
                field="evaluation_id",
            )
        yield result
