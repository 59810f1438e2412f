"""Threads of native libraries: a lower priority than Python's threads have, or cores of their own."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_BEHIND = 5
"""Niceness of native threads above Python's. If both need a core, Python's gets three times as much of it."""


def put_python_first() -> None:
    """Lower the priority of all present threads of native libraries below that of Python's threads.

    Python's threads keep one priority, because a thread that holds the interpreter lock and waits for a core would make
    the others wait too. Linux only, where a thread has a priority of its own; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    behind = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _BEHIND
    for thread in _threads() - _python_threads():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, behind)


def part_cores(native: int) -> None:
    """Move the present threads of native libraries to the last `native` of this process's cores, and Python's to the
    others.

    A thread that Python starts later runs where Python does. Linux only; elsewhere, and where Python would be left
    without a core, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if not 0 < native < len(cores):
        return
    python = _python_threads()
    for thread in _threads():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread, cores[:-native] if thread in python else cores[-native:])


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _python_threads() -> set[int | None]:
    return {thread.native_id for thread in threading.enumerate()}
