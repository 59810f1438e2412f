"""Parents and children: a process that ends with its parent, the processes that one has started, and their CPU time."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(environment: Mapping[str, str] = os.environ) -> None:
    """If WAYMARK_DIE_WITH_PARENT=1: end when the process that started this one does."""
    if environment.get("WAYMARK_DIE_WITH_PARENT") == "1":
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when `parent`, which must be its parent, ends.

    Linux only; elsewhere nothing happens. The kernel watches the thread that started this process, so a
    parent must start it from a thread that lives as long as itself.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the call above
        os.kill(os.getpid(), signal.SIGTERM)


def children(pid: int) -> list[int]:
    """The processes that a process has started, from whichever thread, and that still run. Linux only."""
    ids: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            ids += map(int, file.read_text().split())
    return ids


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds of these processes so far, over all of their threads (`man proc_pid_stat`). Linux only."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")
