"""A run on disk: one folder for each evaluation, which stays readable if the processes that write it are killed.

    evaluation.json     what was asked and which versions answered, written first
    episodes.jsonl      one EpisodeResult a line with every turn, in the order in which they finished; of an episode
                        that was played again, as errored ones can be, the last line holds
    logs/               what the services of a local stack wrote; logs-2/ and so on when the evaluation was resumed

One process at a time writes a folder (the env-runner); any may read it meanwhile. A line torn by a crash or by a full
disk is not read, and is cut off before the next line is written. So an evaluation whose jobs are gone can be resumed
from its folder. A folder may have been edited: what is read is checked (`waymark.evaluation.run_folder_checks`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from waymark.command_hints import command
from waymark.contracts import Contract, EpisodeResult, EvaluationRequest, Versions
from waymark.errors import InvalidInput, NotFound
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.result_json import without_turns, write_result
from waymark.evaluation.run_folder_checks import (
    check_created,
    check_name,
    check_numbers,
    check_torn,
    open_regular,
    parse,
    parse_result,
    read_small,
    whole_lines,
)
from waymark.worlds.registry import world_of

HEADER = "evaluation.json"
EPISODES = "episodes.jsonl"
LOGS = "logs"
_BLOCK = 65_536
"""Bytes read at once when looking back for the end of the last whole line."""


class Evaluation(Contract):
    """An evaluation without its progress."""

    id: str
    request: EvaluationRequest
    created: str
    """ISO 8601, UTC."""
    versions: Versions
    episodes: int
    """How many it has."""


class _Line(BaseModel):
    """The part of a line that identifies its episode."""

    id: str


class RunFolder:
    """The folder of one evaluation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is a run."""
        return os.path.exists(self.path / HEADER)

    def begin(self, evaluation: Evaluation) -> None:
        """Make the folder ready for appending. Raises OSError, InvalidInput where there is something else."""
        self.path.mkdir(parents=True, exist_ok=True)
        header = self.path / HEADER
        if not header.exists():
            _write_whole(header, evaluation.model_dump_json(indent=1) + "\n")
        episodes = self.path / EPISODES
        if episodes.exists():
            _cut_torn_line(episodes)

    def mark(self) -> tuple[tuple[int, int] | None, ...]:
        """Identity and length of the files of header and episodes. It changes with every write."""
        return tuple(_mark(self.path / name) for name in (HEADER, EPISODES))

    def append(self, result: EpisodeResult) -> None:
        """Add one episode, whole or not at all. Raises OSError, e.g. when the disk is full."""
        line = write_result(result) + b"\n"
        with open(self.path / EPISODES, "ab", buffering=0, opener=_open_to_append) as file:
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
        path = self.path / HEADER
        try:
            text = read_small(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"No run at {self.path}: it has no {HEADER}.", remedy="Name a folder under runs/.") from None
        evaluation = parse(Evaluation, text, str(path))
        check_name(evaluation.id, str(path))
        check_created(evaluation.created, str(path))
        check_numbers(evaluation, str(path))
        return evaluation

    def played_with(self, engines: Sequence[str], environments: Sequence[str]) -> tuple[str, str]:
        """The engine and the environment of the run; each one must be a known one.

        Raises NotFound, InvalidInput.
        """
        versions = self.evaluation().versions
        names = versions.executor.engine, versions.environment.partition(" ")[0]
        if names[0] not in engines or names[1] not in environments:
            raise InvalidInput(
                f"{self.path / HEADER} says engine {names[0][:40]!r} and environment {names[1][:40]!r}.",
                remedy=f"This version knows {', '.join(engines)} and {', '.join(environments)}.",
            )
        return names

    def results(self, order: Sequence[str] = ()) -> Iterator[EpisodeResult]:
        """All finished episodes with their turns, each once; a torn last line is left out.

        Those that `order` names come first, in that order. Raises InvalidInput for any other damage.
        """
        return (result for _, result in self._numbered(order))

    def result(self, episode: str) -> EpisodeResult | None:
        """One finished episode with its turns; None while there is none. Reads only this one in full.

        Raises InvalidInput for a damaged line that may be it.
        """
        path, wanted = self.path / EPISODES, episode.encode()
        numbered_line: tuple[int, bytes] | None = None
        try:
            file = open_regular(path, "rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        with file:
            for number, line in whole_lines(path, file):
                head = without_turns(line)
                if wanted in head and parse(_Line, head, f"Line {number} of {path}").id == episode:
                    numbered_line = number, line
        if numbered_line is None:
            return None
        where = f"Line {numbered_line[0]} of {path}"
        result = parse_result(numbered_line[1], where)
        check_numbers(result, where)
        return result

    def lights(self) -> list[EpisodeResult]:
        """All finished episodes without their turns, each once. Reads only what stands before the turns of a line.

        Raises InvalidInput for damage there; damage among the turns shows when an episode is read whole.
        """
        return [result for _, result in self._numbered_lights()]

    def checked_lights(self) -> list[EpisodeResult]:
        """The same, of a folder whose lines may be of something else. Raises what `checked_results` raises."""
        check = self._membership()
        results: list[EpisodeResult] = []
        for number, result in self._numbered_lights():
            check(number, result)
            results.append(result)
        return results

    def checked_results(self) -> Iterator[EpisodeResult]:
        """The same, of a folder whose lines may be of something else.

        Raises NotFound, and InvalidInput for a line of another evaluation, or of an episode that it does not play or
        that another line has already.
        """
        check = self._membership()
        for number, result in self._numbered():
            check(number, result)
            yield result

    def check(self) -> None:
        """Raise what `checked_results` raises."""
        deque(self.checked_results(), maxlen=0)

    def _membership(self) -> Callable[[int, EpisodeResult], None]:
        """A function that raises InvalidInput unless the episode of a line belongs here. It is given each line once."""
        evaluation = self.evaluation()
        try:
            specs = episodes(evaluation.id, evaluation.request, world_of(evaluation.versions.environment))
        except InvalidInput as error:
            raise InvalidInput(
                f"{self.path / HEADER} has a request that cannot be played: {error.message}",
                remedy="It was written by another version of waymark, edited or damaged.",
            ) from error
        if len(specs) != evaluation.episodes:
            raise InvalidInput(
                f"{self.path / HEADER} says {evaluation.episodes} episodes, but its request has {len(specs)}.",
                remedy="It was written by another version of waymark, edited or damaged.",
            )
        expected = {(spec.task, spec.variation, spec.repeat) for spec in specs}
        played: dict[tuple[str, int, int], int] = {}

        def check(number: int, result: EpisodeResult) -> None:
            key = (result.task, result.variation, result.repeat)
            named = f"task {result.task[:100]!r}, variation {result.variation}, repeat {result.repeat}"
            wrong = None
            if result.evaluation != evaluation.id or result.seed != evaluation.request.seed:
                ours = f"{evaluation.id[:100]!r} with seed {evaluation.request.seed}"
                wrong = f"is of evaluation {result.evaluation[:100]!r} with seed {result.seed}, the others of {ours}"
            elif key not in expected:
                wrong = f"is of {named}, which this evaluation does not play"
            elif key in played:
                wrong = f"is of {named}, and so is line {played[key]}"
            if wrong:
                raise InvalidInput(
                    f"Line {number} of {self.path / EPISODES} {wrong}.",
                    remedy=f"Take the line out; `{command('resume', self.path)}` plays what is missing.",
                )
            played[key] = number

        return check

    def _numbered_lights(self) -> list[tuple[int, EpisodeResult]]:
        """The last line of every episode, without its turns, and its number."""
        path = self.path / EPISODES
        try:
            file = open_regular(path, "rb")
        except (FileNotFoundError, NotADirectoryError):
            return []
        results: dict[str, tuple[int, EpisodeResult]] = {}
        with file:
            for number, line in whole_lines(path, file):
                where = f"Line {number} of {path}"
                result = parse(EpisodeResult, without_turns(line), where)
                check_numbers(result, where)
                results.pop(result.id, None)
                results[result.id] = number, result.without_trajectory()
        return list(results.values())

    def _numbered(self, order: Sequence[str] = ()) -> Iterator[tuple[int, EpisodeResult]]:
        """The last line of every episode and its number; first of those that `order` names."""
        path = self.path / EPISODES
        places = self._places()
        if not places:
            return
        first = {episode: places[episode] for episode in order if episode in places}
        with open_regular(path, "rb") as file:
            for number, offset in (first | places).values():
                file.seek(offset)
                where = f"Line {number} of {path}"
                result = parse_result(file.readline(), where)
                check_numbers(result, where)
                yield number, result

    def _places(self) -> dict[str, tuple[int, int]]:
        """Number and offset of every episode's last line, in their order."""
        path = self.path / EPISODES
        places: dict[str, tuple[int, int]] = {}
        try:
            file = open_regular(path, "rb")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        with file:
            offset = 0
            for number, line in whole_lines(path, file):
                episode = parse(_Line, without_turns(line), f"Line {number} of {path}").id
                places.pop(episode, None)
                places[episode] = number, offset
                offset += len(line)
        return places


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
    with open_regular(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        newline = -1
        while end and newline < 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            end = start
        whole = end + newline + 1
        file.seek(whole)
        check_torn(path, file.read(12))
        file.truncate(whole)


def _open_to_append(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a FIFO. Raises OSError for anything but a regular file."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return descriptor
