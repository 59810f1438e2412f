"""From a built app to a process that serves it: the socket and the exit codes.

Exit codes: 0 stopped as asked, 2 it cannot run as it is set up, 3 its port is in use. Both errors are one line on
stderr that says what to do.
"""

from __future__ import annotations

import errno
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from waymark.errors import InvalidInput, PortInUse, WaymarkError

CANNOT_RUN = 2
PORT_IN_USE = 3
_BACKLOG = 1_024
_SWITCH_SECONDS = 0.0005


@contextmanager
def exit_clearly(service: str) -> Iterator[None]:
    """End the process with one line on stderr for errors that its user can mend."""
    try:
        yield
    except WaymarkError as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"{service}: {line}\n")
        raise SystemExit(PORT_IN_USE if isinstance(error, PortInUse) else CANNOT_RUN) from None


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
    app: FastAPI, bound: socket.socket, *, grace_seconds: float = 10.0, drain: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGINT or SIGTERM; then admit nothing more, answer what runs and waits, and leave with 0.

    `drain` is called with the signal: the app is not ready from then on. What is not answered `grace_seconds` later is
    given up. A second SIGINT gives up at once. Raises PortInUse.
    """
    try:
        bound.listen(_BACKLOG)
    except OSError as error:  # another process bound the port as well, and listened first
        host, port, *_ = bound.getsockname()
        raise _in_use(host, port) from error
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        log_config=None,
        access_log=False,  # `observe` writes it
        server_header=False,
        proxy_headers=False,  # nothing asks for a caller's address
        timeout_graceful_shutdown=grace_seconds,  # type: ignore[arg-type]  # it says int and takes any number
        lifespan="on",
    )
    # The model's thread comes back from native code and needs the interpreter at once, for its next batch; by default
    # a busy event loop lets go of it after 5 ms only.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # What is loaded by now stays. A full collection would look through it all again, with every thread halted for some
    # 50 ms.
    gc.collect()
    gc.freeze()
    # Once it has shut down, uvicorn raises the signal that it caught again.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    _Server(config, drain).run(sockets=[bound])


class _Server(uvicorn.Server):
    """Tells the app of a signal at once, not when the server comes to shutting down."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop admitting, then stop."""
        self._drain()
        super().handle_exit(sig, frame)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
