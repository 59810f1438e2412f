"""The files of a checkpoint's folder, listed and read within bounds: the folder may come from anybody.

Only regular files are opened, and never waited for: a FIFO, a device or a socket is refused, and so is a symbolic link
that leads nowhere or back to itself. A folder holds few files, and those that are read whole are small. Every error is
a CheckpointError of one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from waymark.errors import CheckpointError

MOST_FILES: Final = 1_000
"""In a checkpoint's folder and those below it."""
MOST_FOLDERS_DEEP: Final = 8
LARGEST_CARD: Final = 1_000_000
LARGEST_CONFIG: Final = 4_000_000
LARGEST_VOCABULARY: Final = 64_000_000
LARGEST_TOKENIZER: Final = 256_000_000
"""Bytes. Gemma's tokenizer.json, among the largest, has 34 MB."""
_COPY_AGAIN: Final = "Copy the folder again, with plain files only."
_SHOWN: Final = 200


def list_files(folder: Path) -> dict[str, Path]:
    """Every file below a folder, by its relative path. Raises CheckpointError."""
    files: dict[str, Path] = {}
    waiting: list[tuple[Path, int]] = [(folder, 0)]
    while waiting:
        inner, depth = waiting.pop()
        try:
            entries = sorted(inner.iterdir())
            for path in entries:
                mode = path.stat().st_mode
                if stat.S_ISDIR(mode):
                    if depth >= MOST_FOLDERS_DEEP:
                        raise CheckpointError(
                            f"{folder} holds folders that are more than {MOST_FOLDERS_DEEP} deep.",
                            remedy="A symbolic link may lead back up: remove it.",
                        )
                    waiting.append((path, depth + 1))
                    continue
                if not stat.S_ISREG(mode):
                    raise CheckpointError(f"{path} is {_called(mode)}, not a file.", remedy=_COPY_AGAIN)
                files[path.relative_to(folder).as_posix()] = path
        except OSError as error:
            where = Path(os.fsdecode(error.filename)) if error.filename else inner
            raise CheckpointError(f"{where} cannot be read: {error.strerror}.", remedy=_COPY_AGAIN) from error
        if len(files) + len(waiting) > MOST_FILES:
            raise CheckpointError(
                f"{folder} holds more than {MOST_FILES} files.", remedy="Name the checkpoint's own folder."
            )
    return files


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading, never waiting. Raises CheckpointError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(f"{path} cannot be read: {reason}.", remedy=_COPY_AGAIN) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise CheckpointError(f"{path} is {_called(mode)}, not a file.", remedy=_COPY_AGAIN)
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, most: int) -> bytes:
    """A whole file of at most so many bytes. Raises CheckpointError."""
    with open_file(path) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.", remedy=_COPY_AGAIN) from error
    if len(content) > most:
        raise CheckpointError(f"{path} is over {most:,} bytes.", remedy="Restore it: such a file is much smaller.")
    return content


def read_object(path: Path, most: int = LARGEST_CONFIG) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError."""
    content = parse_json(read_file(path, most), path)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a JSON {_json_type(content)} where an object belongs.", remedy="Restore the file."
        )
    return content


def parse_json(content: bytes, path: Path) -> Any:
    """A JSON document. Raises CheckpointError for what is none, too deep or holds an absurd number."""
    try:
        return json.loads(content)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)[:_SHOWN]
    raise CheckpointError(f"{path} is not JSON: {reason}.", remedy="Restore the file.")


def sha256_of(path: Path) -> str:
    """The hash of a file. Raises CheckpointError."""
    with open_file(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.", remedy=_COPY_AGAIN) from error


def _called(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")


def _json_type(value: object) -> str:
    names = {list: "list", str: "string", bool: "true or false", int: "number", float: "number"}
    return names.get(type(value), "null")
