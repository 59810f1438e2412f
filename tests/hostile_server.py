"""A server on loopback that answers as an attacker would: raw bytes on a socket, one thread a connection."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Answer = Callable[[socket.socket], None]


class HostileServer:
    """Runs while its block lasts. `answer` gets each connection once its request has begun to arrive."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.closing = threading.Event()
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._listening.close()

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65_536)
            self._answer(connection)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            while connection.recv(65_536):  # else what is not read resets the answer
                pass


def at_once(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    """An answer that is sent at once."""
    lines = "".join(f"{header}\r\n" for header in headers)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return lambda connection: connection.sendall(head.encode() + body)


def bomb(megabytes: int, layers: int) -> bytes:
    """So much of one character, compressed as often: 300 MB are 644 bytes when compressed twice."""
    packing = zlib.compressobj(9, wbits=31)
    packed = b"".join(packing.compress(b"a" * 2**20) for _ in range(megabytes)) + packing.flush()
    for _ in range(layers - 1):
        packed = gzip.compress(packed)
    return packed


def send_without_end(connection: socket.socket, beginning: bytes, part: bytes, pause: float = 0.0) -> None:
    """The beginning, and then one part after another, with a pause in seconds after each."""
    connection.sendall(beginning)
    while True:
        connection.sendall(part)
        time.sleep(pause)


def endless(connection: socket.socket) -> None:
    """A body without length that never ends."""
    send_without_end(connection, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" " * 65_536)


def drip(connection: socket.socket) -> None:
    """A body of a byte each tenth of a second, so that no single read is ever late."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n"
    send_without_end(connection, head, b" ", 0.1)


def dripping_head(connection: socket.socket) -> None:
    """A header as slow as that."""
    send_without_end(connection, b"HTTP/1.1 200 OK\r\nx: ", b"a", 0.1)


def huge_header(connection: socket.socket) -> None:
    """A header that never ends."""
    send_without_end(connection, b"HTTP/1.1 200 OK\r\nx: ", b"a" * 65_536)


def redirect(connection: socket.socket) -> None:
    """To another port of this machine."""
    connection.sendall(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
