"""A private folder for a Unix socket. The path of a socket has a limit that no folder has: 107 bytes on Linux."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from waymark.errors import StackError

LONGEST: Final = 103
"""Bytes of a socket's path: 107 on Linux, 103 on macOS and the BSDs."""
_PREFIX: Final = "waymark-"
_RANDOM: Final = 8
"""Characters that `mkdtemp` adds."""


def make_socket_folder(socket_name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """A new folder with mode 0700 in which a socket of that name fits.

    The first of TMPDIR, XDG_RUNTIME_DIR and the system's own places that is short enough and can be written to.
    Raises StackError, which says what is wrong with each.
    """
    complaints: list[str] = []
    for place in _places(environment):
        length = len(os.fsencode(place / f"{_PREFIX}{'x' * _RANDOM}" / socket_name))
        if length > LONGEST:
            complaints.append(f"{place} is too long for a socket ({length} of {LONGEST} bytes)")
            continue
        try:
            _check_safe(place)
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError as error:
            complaints.append(f"{place}: {error.strerror or error}")
    raise StackError(
        f"No folder can hold Redis' socket: {'; '.join(complaints)}.",
        remedy="Set TMPDIR to a short path that can be written to.",
    )


def _places(environment: Mapping[str, str]) -> Iterator[Path]:
    named = (environment.get("TMPDIR"), environment.get("XDG_RUNTIME_DIR"))
    system = (f"/run/user/{os.geteuid()}", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - `mkdtemp` makes a private one
    folders: set[Path] = set()
    for place in (*named, *system):
        path = Path(place) if place else None
        if path is not None and path.is_absolute() and path not in folders:
            folders.add(path)
            yield path


def _check_safe(place: Path) -> None:
    """Raise OSError where others could replace the folder: they can write there, and the sticky bit is not set."""
    mode = place.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PermissionError(0, "anybody may replace files there")
