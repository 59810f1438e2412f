"""Puts every committed episode on disk: the one writer of the run folders.

It follows the commits in Redis rather than the workers, so a line is written once however often an episode
was played, and one that was committed while the app was down is written when it is back. One env-runner app
at a time may write to a runs folder.
"""

from __future__ import annotations

from pathlib import Path

from services.env_runner.jobs import JobStore
from waymark.runs import RunFolder


class ResultWriter:
    """Follows the commits of all evaluations. Not thread-safe: one caller at a time."""

    def __init__(self, store: JobStore, runs: Path) -> None:
        self._store = store
        self._runs = runs
        self._cursors: dict[str, str] = {}
        self._written: dict[str, set[str]] = {}

    def folder(self, evaluation_id: str) -> RunFolder:
        """Where an evaluation's results lie."""
        return RunFolder(self._runs / evaluation_id)

    def follow(self, evaluation_id: str) -> None:
        """Write this evaluation from now on, beginning with what its folder lacks. Raises NotFound."""
        self._written[evaluation_id] = self.folder(evaluation_id).begin(self._store.evaluation(evaluation_id))
        self._cursors[evaluation_id] = "0"

    def catch_up(self) -> int:
        """Write what was committed since the last call; returns how many episodes that were."""
        count = 0
        for event in self._store.events(self._cursors):
            written = self._written[event.evaluation]
            if event.result.id not in written:
                self.folder(event.evaluation).append(self._store.episode(event.evaluation, event.result.id))
                written.add(event.result.id)
                count += 1
            self._cursors[event.evaluation] = event.cursor
        return count
