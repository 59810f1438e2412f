"""A run's name, tags and note from its users, stored in its folder as `notes.json`."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from waymark.contracts import Contract, Name
from waymark.errors import NotFound, StorageUnavailable
from waymark.evaluation.run_folder_checks import parse, read_small
from waymark.evaluation.writable_folders import unavailable

NOTES: Final = "notes.json"


class RunNotes(Contract):
    """The name, tags and note of a run."""

    name: Annotated[str, StringConstraints(max_length=200)] = ""
    """The name of the run; empty: its id."""
    tags: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    note: Annotated[str, StringConstraints(max_length=4_000)] = ""


def read_notes(folder: Path) -> RunNotes:
    """The notes in a folder. Raises OSError where there are none, NotFound for a link, InvalidInput for damage."""
    check_regular(folder / NOTES)
    return parse(RunNotes, read_small(folder / NOTES), NOTES)


def write_notes(folder: Path, notes: RunNotes) -> None:
    """Replace the notes in a run's folder, whole or not at all. Raises StorageUnavailable."""
    draft = folder / f".{NOTES}.{os.getpid()}.{threading.get_ident()}"
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(notes.model_dump_json(indent=1) + "\n")
        draft.replace(folder / NOTES)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        failure: StorageUnavailable = unavailable(folder, error)
        raise failure from error


def check_regular(path: Path) -> None:
    """Raise OSError for a missing file, NotFound for a symbolic link, a FIFO or anything else but a regular file."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotFound(f"{path.name} is no regular file.", remedy="Put the file itself there.")
