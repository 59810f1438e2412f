"""The exit codes of a service, and the one line on stderr for errors that its user can solve.

0: stopped on request. 2: wrong settings, or a checkpoint that cannot be served. 3: its port is in use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from waymark.errors import PortInUse, WaymarkError

CANNOT_RUN = 2
PORT_IN_USE = 3


@contextmanager
def exit_clearly(service: str) -> Iterator[None]:
    """End the process with one line on stderr and an exit code for errors that its user can solve."""
    try:
        yield
    except WaymarkError as error:
        line = " ".join(str(error).split())
        sys.stderr.write(f"{service}: {line}\n")
        raise SystemExit(PORT_IN_USE if isinstance(error, PortInUse) else CANNOT_RUN) from None
