"""Keeps the data of an embedded Redis after its end."""

from __future__ import annotations

import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

_DUMP = "dump.rdb"
_SECONDS = 20.0
"""Seconds that one answer may take; saving all data is one answer."""


def has_data(folder: Path) -> bool:
    """Whether a Redis has left data in a folder."""
    return is_dump(folder) or _is_log(folder)


def is_dump(folder: Path) -> bool:
    """Whether the data in a folder are a dump, and not the log that a Redis of ours appends to."""
    return (folder / _DUMP).exists() and not _is_log(folder)


def keep_data(address: Path, folder: Path) -> Path:
    """The folder that will hold all data of a running Redis after it has stopped.

    That is its own folder, unless it could not append to its log there; then a new folder of the system's for
    temporary files, if that takes a dump.
    """
    with suppress(OSError):
        if b"aof_last_write_status:err" not in ask(address, "INFO", "persistence"):
            return folder
        elsewhere = Path(tempfile.mkdtemp(prefix="waymark-unwritten-"))
        if ask(address, "CONFIG", "SET", "dir", str(elsewhere)) == b"OK" and ask(address, "SAVE") == b"OK":
            return elsewhere
        shutil.rmtree(elsewhere, ignore_errors=True)
    return folder


def ask(address: Path, *words: str) -> bytes:
    """The answer to one command, a status or a text. Raises OSError."""
    command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_SECONDS)
        client.connect(str(address))
        client.sendall(command.encode())
        with client.makefile("rb") as answer:
            first = answer.readline().strip()
            return answer.read(int(first[1:])) if first.startswith(b"$") and first != b"$-1" else first[1:]


def _is_log(folder: Path) -> bool:
    return (folder / "appendonly.aof").exists() or (folder / "appendonlydir").exists()
