"""The HTTP server of every service: its socket, its connections, and its orderly end."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from waymark.errors import InvalidInput, PortInUse
from waymark.operating_system.thread_scheduling import put_python_first, shorten_slices
from waymark.serving.middleware.connection_limits import ConnectionLimits, Guard
from waymark.serving.middleware.connections import Connection

_BACKLOG = 1_024
_SWITCH_SECONDS = 0.0005
COLLECT_RARELY = 500_000
"""Threshold of the garbage collector, in objects: several times a full queue of requests with all of their turns."""
_SELDOM_ALL = (700, 10, 10_000)
"""Python's default thresholds except the last. A full collection comes only after 70 million new objects."""
_LOOK_SECONDS = 0.05


def bind(host: str, port: int) -> socket.socket:
    """A socket that owns its address and does not listen yet. Raises PortInUse, InvalidInput."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(host, port) from error
        raise InvalidInput(
            f"Cannot listen on {host} port {port}: {error.strerror or error}.",
            remedy="Set WAYMARK_HOST to an address of this machine and WAYMARK_PORT to a port above 1023.",
            field="WAYMARK_HOST",
        ) from error
    return bound


def _in_use(host: str, port: int) -> PortInUse:
    return PortInUse(
        f"Port {port} on {host} is in use.",
        remedy="End the process that listens there, or set WAYMARK_PORT to another port.",
    )


def serve(
    app: FastAPI,
    bound: socket.socket,
    *,
    limits: ConnectionLimits | None = None,
    grace_seconds: float = 10.0,
    threads_on_own_cores: int = 0,
    collect_after: int | None = None,
    begin: Callable[[], None] = lambda: None,
    drain: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM; then admit nothing more, answer what runs and waits, and leave with 0.

    `begin` is called once the port is open, in a thread; what it raises ends the service and is raised here. `drain`
    is called with the signal: the app is not ready from then on. What is not answered `grace_seconds` later is given
    up. A second SIGINT gives up at once. `threads_on_own_cores`: as for `put_python_first`.
    Python looks for cycles after `collect_after` objects; by default among young objects as often as ever, and among
    all seldom. Raises PortInUse.
    """
    try:
        bound.listen(_BACKLOG)
    except OSError as error:  # another process bound the port as well, and listened first
        host, port, *_ = bound.getsockname()
        raise _in_use(host, port) from error
    # When the model's thread returns from native code, it needs the interpreter lock at once for its next batch. By
    # default a busy event loop releases the lock only after 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # A garbage collection stops every thread. Everything that is loaded now stays, so it is frozen: later collections
    # skip it. Requests to a model are freed by their reference counts (after thousands there was no cycle to collect),
    # so they need no collections. At Python's own threshold, collections ran eight times a second for 5 to 30 ms under
    # overload. At 50,000 objects a queue that filled up caused one of 50 ms, which made refusals late.
    # Services that read long results (an episode has up to 20,000 turns) leave no cycles either, but hold many objects,
    # so that a full collection takes 130 ms, and four followed at once. Young objects are collected as usual.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*((collect_after,) if collect_after is not None else _SELDOM_ALL))
    # Once it has shut down, uvicorn raises the signal that it caught again.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    server = Server(
        app,
        limits,
        grace_seconds=grace_seconds,
        begin=begin,
        drain=drain,
        threads_on_own_cores=threads_on_own_cores,
    )
    server.run(sockets=[bound])
    if server.failure is not None:
        raise server.failure


class Server(uvicorn.Server):
    """uvicorn with our rules for connections; `begin` runs beside the open port, `drain` at a signal at once."""

    def __init__(
        self,
        app: FastAPI,
        limits: ConnectionLimits | None = None,
        *,
        grace_seconds: float = 10.0,
        begin: Callable[[], None] = lambda: None,
        drain: Callable[[], None] = lambda: None,
        threads_on_own_cores: int = 0,
    ) -> None:
        self._guard = Guard(limits, getattr(app.state, "count_closed", lambda _: None))
        super().__init__(
            uvicorn.Config(
                app,
                http=cast("type[Connection]", partial(Connection, guard=self._guard)),
                ws="none",
                loop="uvloop",
                log_config=None,
                access_log=False,  # `observed_requests` writes it
                server_header=False,
                proxy_headers=False,  # nothing asks for a caller's address
                timeout_graceful_shutdown=grace_seconds,  # type: ignore[arg-type]  # it says int and takes any number
                lifespan="on",
            )
        )
        self.failure: Exception | None = None
        self._begin = begin
        self._beginning = threading.Thread(target=self._begin_or_stop, name="begin", daemon=True)
        self._drain = drain
        self._threads_on_own_cores = threads_on_own_cores

    def _begin_or_stop(self) -> None:
        try:
            self._begin()
            # An engine uses all of its cores. Without a higher priority the event loop gets only a share of one core,
            # and requests wait for seconds in their sockets, where no limit applies.
            put_python_first(threads_on_own_cores=self._threads_on_own_cores)
            shorten_slices()
        except Exception as error:  # noqa: BLE001 - raised by `serve`, in the main thread
            self.failure = error
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer, then begin."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._guard.watch())
        if not self.should_exit:
            self._beginning.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what has begun come to its end within the grace: it may still use what is closed now."""
        give_up = time.monotonic() + (self.config.timeout_graceful_shutdown or 0)
        while self._beginning.is_alive() and not self.force_exit and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(0)  # one more round accepts callers that have connected; else closing the port resets them
        await super().shutdown(sockets)
        self._watching.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop admitting, then stop."""
        self._drain()
        super().handle_exit(sig, frame)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
