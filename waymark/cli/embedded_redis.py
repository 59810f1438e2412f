"""The Redis that the stack starts for itself, and what keeps its data when they could not be written."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from waymark.child_processes.child_process import Part, wait_until_ready
from waymark.cli.redis_server import find_redis_server, major_version
from waymark.cli.socket_folder import make_socket_folder

_SOCKET: Final = "redis.sock"
_PROTECTS_CONFIGS: Final = 7
"""The first version of Redis that refuses to change its folder unless it was started with permission."""
_DUMP = "dump.rdb"
_SECONDS = 20.0
"""How long one answer may take: saving all data is one."""


class EmbeddedRedis:
    """A Redis of our own on a Unix socket, its data (AOF) in `folder`."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self._folder = folder
        self._log = log or folder / "redis.log"
        self._socket_folder = make_socket_folder(_SOCKET)
        self._socket = self._socket_folder / _SOCKET
        self.url = f"unix://{quote(str(self._socket))}"
        self.part: Part

    def start(self) -> Self:
        """Start it and wait until it answers. Raises StackError."""
        program = find_redis_server()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "no" if is_dump(self._folder) else "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
        if major_version(program) >= _PROTECTS_CONFIGS:
            options["enable-protected-configs"] = "local"  # `keep_data` moves its folder where its disk is full
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.part = Part("Redis", [program, *arguments], os.environ, self._log)
        wait_until_ready([self.part], self._answers, "Redis")
        return self

    def keep_data(self) -> Path:
        """Where its data will be whole once it has stopped: in its folder, or elsewhere if its disk takes no more."""
        return keep_data(self._socket, self._folder)

    def stop(self) -> None:
        """Stop it; its data stay in the folder."""
        if (part := getattr(self, "part", None)) is not None:
            part.stop()
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self._socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False


def has_data(folder: Path) -> bool:
    """Whether a Redis has left data in a folder."""
    return is_dump(folder) or _is_log(folder)


def is_dump(folder: Path) -> bool:
    """Whether the data in a folder are a dump, and not the log that a Redis of ours appends to."""
    return (folder / _DUMP).exists() and not _is_log(folder)


def keep_data(address: Path, folder: Path) -> Path:
    """Where all that a running Redis holds will be when it has stopped.

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
