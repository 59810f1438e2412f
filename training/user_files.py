"""Files and folders that a user names: one place turns what is wrong with them into one line."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from waymark.errors import InvalidInput, WaymarkError
from waymark.inference.checkpoint_files import sha256_of

__all__ = [
    "FULL",
    "read_json",
    "reading",
    "reason",
    "replacing",
    "require_writable_file",
    "require_writable_folder",
    "sha256_of",
]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that say: the disk is full, the quota is used up."""


@contextmanager
def reading(path: Path, description: str, field: str, remedy: str = "Check the path.") -> Iterator[None]:
    """Turn any error about the content of a file, or about getting at it, into InvalidInput."""
    if not path.is_file():  # a folder would be read as several tables, and a pipe would block
        why = "it is not a file" if path.exists() else "no such file"
        raise InvalidInput(f"Cannot read {description} {path}: {why}.", remedy=remedy, field=field)
    try:
        yield
    except WaymarkError:
        raise
    except OSError as error:
        raise InvalidInput(f"Cannot read {description} {path}: {reason(error)}.", remedy=remedy, field=field) from error
    except (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not {description}: {_first_line(error)}.", remedy=remedy, field=field) from error


def read_json(path: Path, description: str, field: str = "run") -> dict[str, Any]:
    """A JSON object. Raises InvalidInput."""
    with reading(path, description, field):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no JSON object")  # noqa: TRY004 - a file's content, not a caller's
    return value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends; a failure removes it and keeps the old file.

    Makes the folder. What is no file, such as a pipe or /dev/null, is written to directly. Errors of writing name
    `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def require_writable_folder(folder: Path, field: str) -> None:
    """Raise InvalidInput where a folder cannot be made or written to. Leaves nothing there."""
    nearest = _nearest(folder)
    if not nearest.is_dir():
        raise InvalidInput(
            f"Cannot write to the folder {folder}: {nearest} is not a folder.",
            remedy="Name another folder.",
            field=field,
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InvalidInput(
            f"Cannot write to the folder {folder}: permission denied for {nearest}.",
            remedy="Name a folder that you may write to.",
            field=field,
        )
    try:
        _try_names(nearest, folder.relative_to(nearest).parts)
    except OSError as error:
        raise InvalidInput(
            f"Cannot write to the folder {folder}: {reason(error)}.", remedy="Name another folder.", field=field
        ) from error


def require_writable_file(path: Path, field: str) -> None:
    """Raise InvalidInput where a file cannot be made or replaced. Leaves nothing there."""
    if os.path.isdir(path):  # unlike Path.is_dir, does not raise if the name is too long
        raise InvalidInput(f"Cannot write {path}: it is a folder.", remedy="Name a file in it.", field=field)
    require_writable_folder(path.parent, field)
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise InvalidInput(f"Cannot write {path}: permission denied.", remedy="Name another file.", field=field)
        return
    try:
        _try_names(_nearest(path.parent), [path.name])
    except OSError as error:
        raise InvalidInput(
            f"Cannot write {path}: {reason(error)}.", remedy="Name another file.", field=field
        ) from error


def _nearest(path: Path) -> Path:
    """The path itself if something is there, else the lowest folder above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _try_names(folder: Path, names: Iterable[str]) -> None:
    """Make folders with these names in one that is removed again. Raises OSError.

    Permissions do not say everything: /proc takes no folder even from root, a disk can be full, a name too long.
    """
    with tempfile.TemporaryDirectory(prefix=".waymark-", dir=folder) as tried:
        for name in names:
            Path(tried, name).mkdir(exist_ok=True)  # the same name twice, or `..`


def reason(error: OSError) -> str:
    """What the system says of a failure, in its own words."""
    return (error.strerror or str(error)).rstrip(".").lower()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else type(error).__name__).rstrip(".")
    return f"it lacks {text}" if isinstance(error, KeyError) else text
