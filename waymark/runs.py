"""A run on disk: one folder an evaluation, whole whatever happens to the processes that fill it.

    evaluation.json     what was asked and which versions answered, written first
    episodes.jsonl      one EpisodeResult a line with every turn, in the order in which they finished; of an episode
                        that was played again, as errored ones can be, the last line holds
    logs/               what the services of a local stack wrote; logs-2/ and so on when the evaluation was resumed

One process at a time writes a folder (the env-runner); any may read it meanwhile. A line torn by a crash or by a full
disk is not read, and is cut off before the next line is written. So an evaluation whose jobs are gone can be resumed
from its folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from waymark.contracts import Contract, EpisodeResult, EvaluationRequest, Versions
from waymark.errors import InvalidInput, NotFound

HEADER = "evaluation.json"
EPISODES = "episodes.jsonl"
LOGS = "logs"
_BLOCK = 65_536
"""Bytes read at once when looking back for the end of the last whole line."""

_Model = TypeVar("_Model", bound=BaseModel)


class Evaluation(Contract):
    """What an evaluation is, apart from how far it has come."""

    id: str
    request: EvaluationRequest
    created: str
    """ISO 8601, UTC."""
    versions: Versions
    episodes: int
    """How many it has."""


class _Line(BaseModel):
    """As much of a line as tells whose it is."""

    id: str


class RunFolder:
    """The folder of one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is a run."""
        return (self.path / HEADER).exists()

    def begin(self, evaluation: Evaluation) -> None:
        """Make the folder ready for appending."""
        self.path.mkdir(parents=True, exist_ok=True)
        header = self.path / HEADER
        if not header.exists():
            _write_whole(header, evaluation.model_dump_json(indent=1) + "\n")
        episodes = self.path / EPISODES
        if episodes.exists():
            _cut_torn_line(episodes)

    def mark(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files the header and the episodes are in and how long these are. It changes when anybody writes."""
        return tuple(_mark(self.path / name) for name in (HEADER, EPISODES))

    def append(self, result: EpisodeResult) -> None:
        """Add one episode, whole or not at all. Raises OSError, e.g. when the disk is full."""
        line = result.model_dump_json().encode() + b"\n"
        with (self.path / EPISODES).open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = 0
                while written < len(line):
                    written += file.write(line[written:])
            except OSError:
                file.truncate(before)
                raise

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
        """All finished episodes with their turns, each once; a torn last line is left out.

        Raises InvalidInput for any other damage.
        """
        places = self._places()
        if not places:
            return
        path = self.path / EPISODES
        with path.open("rb") as file:
            for number, offset in places:
                file.seek(offset)
                yield self._read(EpisodeResult, file.readline(), number)

    def _places(self) -> list[tuple[int, int]]:
        """Number and offset of every episode's last line, in their order."""
        places: dict[str, tuple[int, int]] = {}
        path = self.path / EPISODES
        if path.exists():
            offset = 0
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        break
                    episode = self._read(_Line, line, number).id
                    places.pop(episode, None)
                    places[episode] = number, offset
                    offset += len(line)
        return list(places.values())

    def _read(self, kind: type[_Model], line: bytes, number: int) -> _Model:
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            raise InvalidInput(
                f"Line {number} of {self.path / EPISODES} is unreadable: {error.errors()[0]['msg']}.",
                remedy="It was written by another version of waymark, or damaged.",
            ) from error


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        file = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return file.st_ino, file.st_size


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, also if the machine fails. Raises OSError."""
    draft = path.with_suffix(".tmp")
    try:
        draft.unlink(missing_ok=True)
        with draft.open("x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        newline = -1
        while end and newline < 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            end = start
        file.truncate(end + newline + 1)
