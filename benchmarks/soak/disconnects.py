"""No caller is disconnected without an answer.

Callers keep a connection each to an executor without weights that closes what is idle for a second. They wait for about
as long between two requests, so that requests and closing cross, and do not look whether the connection still stands.
Meanwhile the service's process is halted (SIGSTOP) again and again for up to two and a half seconds, as on a machine
that stands still. At the end it is asked to stop while the callers go on. Every request must be answered: by 200, by
the 408 that says it was not read, or by the 503 of a service that stops.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import socket
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.services import Service, machine, running
from benchmarks.soak.verdict import JsonFile, finish

_SETTINGS: Final = {"ENGINE": "scripted", "IDLE_SECONDS": "1", "HEAD_SECONDS": "1"}
_PAUSES: Final = (0.9, 1.6)
"""Seconds between two requests of a caller."""
_HALTS: Final = (0.2, 2.5)
"""Seconds that the process is halted for."""
_LAST_PAUSES: Final = (0.0, 0.4)
"""Seconds between the signal to stop and a caller's last request."""
_BODY: Final = b'{"state":{"task":"boil water","look":"a kitchen","current_subgoal":"x()"}}'
_REQUEST: Final = (
    b"POST /v1/action HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
_ANSWER: Final = re.compile(rb"HTTP/1\.1 (\d+) .*?content-length: (\d+)\r\n.*?\r\n\r\n", re.DOTALL | re.IGNORECASE)
_PATIENCE: Final = 30.0


class Disconnects(BaseModel):
    """Counts of requests on connections that were being closed. The test passes if `disconnected` is 0."""

    machine: str
    seconds: float
    halts: int
    answers: dict[str, int]
    """Number of answers by HTTP status."""
    last_answers: dict[str, int]
    """Number of answers by HTTP status, for the requests sent while the service stopped."""
    disconnected: int
    """Requests that got no answer."""

    @property
    def holds(self) -> bool:
        """Whether each request was answered."""
        return not self.disconnected


class _Caller:
    """One caller with its connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._wire: socket.socket | None = None
        self.answers: Counter[str] = Counter()

    async def ask(self) -> None:
        """Send a request on the connection, or on a new one, and count its answer."""
        loop = asyncio.get_running_loop()
        if self._wire is None:
            self._wire = socket.socket()
            self._wire.setblocking(False)
            await loop.sock_connect(self._wire, ("127.0.0.1", self._port))
        status, closing = "disconnected", True
        with suppress(OSError):  # after a reset, read what came before it
            await loop.sock_sendall(self._wire, _REQUEST)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                status, closing = await self._read(self._wire)
        self.answers[status] += 1
        if closing:
            self.hang_up()

    async def _read(self, wire: socket.socket) -> tuple[str, bool]:
        read = b""
        while not (head := _ANSWER.match(read)) or len(read) < head.end() + int(head[2]):
            part = await asyncio.get_running_loop().sock_recv(wire, 65_536)
            if not part:
                return "disconnected", True
            read += part
        return head[1].decode(), b"connection: close" in head[0].lower()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection."""
        return self._wire is not None


async def _call(callers: int, seconds: float, service: Service) -> Disconnects:
    loop = asyncio.get_running_loop()
    asking = [_Caller(int(service.url.rpartition(":")[2])) for _ in range(callers)]
    end = loop.time() + seconds
    halts = 0

    async def ask_on(caller: _Caller) -> None:
        while loop.time() < end:
            await caller.ask()
            await asyncio.sleep(random.uniform(*_PAUSES))

    async def ask_last(caller: _Caller) -> None:
        if caller.is_connected:
            await asyncio.sleep(random.uniform(*_LAST_PAUSES))
            await caller.ask()
        caller.hang_up()

    async with asyncio.TaskGroup() as group:
        for caller in asking:
            group.create_task(ask_on(caller))
        while loop.time() < end:
            await asyncio.sleep(random.uniform(0.2, 1.5))
            service.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(random.uniform(*_HALTS))
            service.process.send_signal(signal.SIGCONT)
            halts += 1
    before = sum((caller.answers for caller in asking), Counter[str]())
    service.process.send_signal(signal.SIGTERM)
    async with asyncio.TaskGroup() as group:
        for caller in asking:
            caller.answers.clear()
            group.create_task(ask_last(caller))
    last = sum((caller.answers for caller in asking), Counter[str]())
    disconnected = before.pop("disconnected", 0) + last.pop("disconnected", 0)
    return Disconnects(
        machine=machine(), seconds=seconds, halts=halts, answers=before, last_answers=last, disconnected=disconnected
    )


def disconnects(
    seconds: Annotated[float, typer.Option(help="How long, in seconds.", min=0, max=3_600)] = 60,
    callers: Annotated[int, typer.Option(help="Callers at once.", min=1, max=1_000)] = 200,
    json: JsonFile = None,
) -> None:
    """No caller is disconnected without an answer."""
    console = Console(highlight=False)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running("services.executor", _SETTINGS, Path(scratch) / "executor.log") as service,
        console.status("asking"),
    ):
        report = uvloop.run(_call(callers, seconds, service))
    table = Table("requests", "by status", "while it stopped", "halts", "without an answer")
    requests = sum(report.answers.values()) + sum(report.last_answers.values()) + report.disconnected
    figures = (requests, report.answers, report.last_answers, report.halts, report.disconnected)
    table.add_row(*(str(figure) for figure in figures))
    console.print(table)
    finish(
        console, report, json, f"{requests:,} requests: {report.disconnected:,} without an answer", holds=report.holds
    )
