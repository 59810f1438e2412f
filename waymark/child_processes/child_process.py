"""One process that this one starts, with its log: `Part`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from waymark.child_processes.readiness import Readiness
from waymark.errors import PortInUse, StackError
from waymark.operating_system.process_tree import end_with

HOST: Final = "127.0.0.1"
"""Where parts listen."""
START_SECONDS: Final = 120.0
"""Seconds until a part must be ready."""
STOP_SECONDS: Final = 15.0
"""Seconds that a part may take to stop before it is killed."""
_POLL_SECONDS: Final = 0.1
_PORT_IN_USE: Final = 3
"""Exit code of a service whose port is taken."""
_CANNOT_RUN: Final = 2
"""Exit code of a service with wrong settings."""
_LOG_LINES: Final = 3


class Part:
    """One process of the stack and its log."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the parts in order
                preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - it makes two system calls
            )

    def check(self) -> None:
        """Raise StackError if the process has ended."""
        code = self.process.poll()
        if code is None:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGXFSZ:
            how += ", since a file of its own has reached the limit on file sizes (ulimit -f)"
        error = PortInUse if code == _PORT_IN_USE else StackError
        misconfigured = code == _CANNOT_RUN and self.name != "Redis"
        message = f"The {self.name} {how}{self._last_words()}."
        raise error(message, remedy=f"Its log is {self.log}", misconfigured=misconfigured)

    def stop(self) -> None:
        """Ask the process to end; kill it if it does not."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        last = [line.strip() for line in lines if line.strip()][-_LOG_LINES:]
        return ": " + " | ".join(last).removesuffix(".") if last else ""


def wait_until_ready(
    parts: Sequence[Part], ready: Callable[[], bool], name: str, *, seconds: float = START_SECONDS
) -> None:
    """Return when `ready` returns true. Raises StackError if a part ends before that, or after so many seconds.

    A `Readiness` also tells what the part said last.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        for part in parts:
            part.check()
        if time.monotonic() > deadline:
            log = next(part.log for part in parts if part.name == name)
            why = f": {ready.problem.removesuffix('.')}" if isinstance(ready, Readiness) and ready.problem else ""
            raise StackError(f"The {name} was not ready within {seconds:.0f} s{why}.", remedy=f"Its log is {log}")
        time.sleep(_POLL_SECONDS)
