"""A run on disk: one folder an evaluation, whole whatever happens to the processes that fill it.

    evaluation.json     what was asked and which versions answered, written first
    episodes.jsonl      one EpisodeResult a line with every turn, in the order in which they finished
    logs/               what the services of a local stack wrote

One process at a time writes a folder (the env-runner); any may read it meanwhile. A line torn by a crash
is not read, and is cut off before the next line is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from waymark.contracts import Contract, EpisodeResult, EvaluationRequest, Versions
from waymark.errors import InvalidInput, NotFound

HEADER = "evaluation.json"
EPISODES = "episodes.jsonl"
LOGS = "logs"


class Evaluation(Contract):
    """What an evaluation is, apart from how far it has come."""

    id: str
    request: EvaluationRequest
    created: str
    """ISO 8601, UTC."""
    versions: Versions
    episodes: int
    """How many it has."""


class RunFolder:
    """The folder of one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, evaluation: Evaluation) -> set[str]:
        """Make the folder ready for appending; the ids of the episodes that it already holds."""
        self.path.mkdir(parents=True, exist_ok=True)
        header = self.path / HEADER
        if not header.exists():
            draft = header.with_suffix(".tmp")
            draft.write_text(evaluation.model_dump_json(indent=1) + "\n")
            draft.replace(header)
        episodes = self.path / EPISODES
        if episodes.exists():
            content = episodes.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(episodes, whole)
        return {result.id for result in self.results()}

    def append(self, result: EpisodeResult) -> None:
        """Add one episode in one write, so that a line is whole or absent."""
        line = result.model_dump_json().encode() + b"\n"
        with (self.path / EPISODES).open("ab", buffering=0) as file:
            file.write(line)

    def evaluation(self) -> Evaluation:
        """The header. Raises NotFound where there is no run, InvalidInput where its header is not one."""
        try:
            return Evaluation.model_validate_json((self.path / HEADER).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"No run at {self.path}: it has no {HEADER}.", remedy="Name a folder under runs/.") from None
        except ValidationError as error:
            raise InvalidInput(
                f"{self.path / HEADER} is unreadable: {error.errors()[0]['msg']}.",
                remedy="It was written by another version of waymark, or damaged.",
            ) from error

    def results(self) -> Iterator[EpisodeResult]:
        """All finished episodes with their turns; a torn last line is left out. Raises InvalidInput for others."""
        path = self.path / EPISODES
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield EpisodeResult.model_validate_json(line)
                except ValidationError as error:
                    raise InvalidInput(
                        f"Line {number} of {path} is unreadable: {error.errors()[0]['msg']}.",
                        remedy="It was written by another version of waymark, or damaged.",
                    ) from error
