"""Checks of a run folder before its use: it may have been edited, damaged or made by hand.

A file must be a regular one, a line must have at most 64 MB, and a number must be possible. Each function raises
InvalidInput with one line that names the place and the error.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from waymark.contracts import EpisodeResult
from waymark.errors import InvalidInput
from waymark.evaluation.result_json import read_result

LINE_BYTES = 64 * 1024 * 1024
"""Largest size of a line and of a header; an episode of 20,000 turns is smaller."""
_LARGEST = 2**53
"""Counts up to here are exact as a float, and fit every format that results are exported to."""
_REMEDY = "It was written by another version of waymark, edited or damaged."
_NOT_A_FILE = "Put the file itself there, or remove it."
_EARLIEST, _LATEST = 1970, 9_000
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")

_Model = TypeVar("_Model", bound=BaseModel)


def open_regular(path: Path, mode: Literal["rb", "rb+"]) -> BinaryIO:
    """Open a regular file. Raises FileNotFoundError, NotADirectoryError, InvalidInput for anything else.

    A FIFO does not block: it is opened without waiting for its other end, and refused.
    """
    access = os.O_RDONLY if mode == "rb" else os.O_RDWR
    try:
        descriptor = os.open(path, access | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a directory, not a file.", remedy=_NOT_A_FILE) from None
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}.", remedy="Make it readable, or name another run."
        ) from error
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise InvalidInput(f"{path} is {_called(kind)}, not a file.", remedy=_NOT_A_FILE)
    return os.fdopen(descriptor, mode)


def _called(kind: int) -> str:
    names = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(kind), "a device")


def read_small(path: Path) -> bytes:
    """A whole file of at most `LINE_BYTES`."""
    with open_regular(path, "rb") as file:
        text = file.read(LINE_BYTES + 1)
    if len(text) > LINE_BYTES:
        raise InvalidInput(f"{path} is over {LINE_BYTES >> 20} MB.", remedy=_REMEDY)
    return text


def whole_lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The number and bytes of each line that ends in a newline; a torn last line is left out."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise InvalidInput(f"Line {number} of {path} is over {LINE_BYTES >> 20} MB.", remedy=_REMEDY)
        if not line.endswith(b"\n"):
            check_torn(path, line)
            return
        yield number, line


def check_torn(path: Path, line: bytes) -> None:
    """Raise InvalidInput for the end of a file that is no torn line of results, which is left out and overwritten.

    A crash leaves the beginning of a result, or zeros. Anything else was put there by somebody else.
    """
    if line[:1] not in (b"{", b"\0", b""):
        raise InvalidInput(
            f"{path} ends with something that is no result: {line[:12]!r}.",
            remedy="Take it out, or put the file of results back.",
        )


def parse(kind: type[_Model], text: bytes, where: str) -> _Model:
    """A model from JSON, every field of the type that is written; `where` names the place in errors."""
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _unreadable(error, where) from error


def parse_result(text: bytes, where: str) -> EpisodeResult:
    """The same for a whole result, which may be long."""
    try:
        return read_result(text, strict=True)
    except ValidationError as error:
        raise _unreadable(error, where) from error


def _unreadable(error: ValidationError, where: str) -> InvalidInput:
    first = error.errors(include_input=False)[0]
    field = "".join(letter if letter.isprintable() else "?" for letter in ".".join(map(str, first["loc"])))[:100]
    return InvalidInput(f"{where} is unreadable: {f'{field}: ' if field else ''}{first['msg']}.", remedy=_REMEDY)


def check_created(created: str, where: str) -> None:
    """A time with its zone, as ISO 8601 writes it."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not _EARLIEST <= time.year <= _LATEST:
        raise InvalidInput(
            f"{where} has {created[:40]!r} for its time of creation.",
            remedy="Write it as ISO 8601 with a time zone, e.g. 2026-11-28T12:00:00+00:00.",
        )


def check_name(name: str, where: str) -> None:
    """Raise InvalidInput unless an id can be part of a file name. Exports are named after the id of the run."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{where} has the id {name[:40]!r}, which cannot be part of a file name.", remedy=_REMEDY)


def check_numbers(model: BaseModel, where: str, *, signed: bool = False) -> None:
    """Raise InvalidInput unless every number in a value, at any depth, is finite and fits every export format.

    Only fields whose name ends with score, reward or logprob may be negative; with `signed` all may.
    """
    for name, value in _numbers(model, ""):
        fits = math.isfinite(value) and abs(value) <= _LARGEST
        if not (fits and (value >= 0 or signed or name.endswith(_SIGNED))):
            raise InvalidInput(f"{where} has {value!r:.40} for `{name}`.", remedy=_REMEDY)


_SIGNED = ("score", "reward", "logprob")
"""Fields that may be negative, by the end of their names."""


def _numbers(value: object, name: str) -> Iterator[tuple[str, float]]:
    """Every number in a value and where it stands, e.g. `trajectory.3.subgoals.0.logprob`."""
    if isinstance(value, int | float):
        if not isinstance(value, bool):
            yield name, value
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _numbers(getattr(value, field), f"{name}.{field}" if name else field)
    elif isinstance(value, tuple):
        places: Iterable[object] = getattr(value, "_fields", range(len(value)))
        for place, inner in zip(places, value, strict=True):
            yield from _numbers(inner, f"{name}.{place}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}")
