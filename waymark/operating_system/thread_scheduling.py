"""How Python's threads and those of native libraries share the cores: priorities and time slices."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from contextlib import suppress

_BEHIND = 5
"""Niceness of native threads above Python's. If both need a core, Python's gets three times as much of it."""
_SLICE_SECONDS = 0.0002
"""Time slice of Python's threads."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call on each machine."""


def put_python_first(*, threads_on_own_cores: int = 0) -> None:
    """Lower the priority of all present threads of native libraries below that of Python's threads.

    `threads_on_own_cores`: the number of the engine's threads, if no other program uses the cores of this process,
    otherwise 0. Python's threads then stay on the last core. They need no more, because one at a time holds the
    interpreter lock. If there are more cores than engine threads, these have the first cores; otherwise they share all.
    They compute only while nothing else needs their core (SCHED_IDLE).

    Python's threads keep one priority, because a thread that holds the interpreter lock and waits for a core would make
    the others wait too. Linux only, where a thread has a priority of its own; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    python, cores = _python_threads(), sorted(os.sched_getaffinity(0))
    behind = os.getpriority(os.PRIO_PROCESS, os.getpid()) + _BEHIND
    for thread in _threads():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if thread in python:
                if threads_on_own_cores:
                    os.sched_setaffinity(thread, cores[-1:])
                continue
            os.setpriority(os.PRIO_PROCESS, thread, behind)
            if threads_on_own_cores:
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
                if threads_on_own_cores < len(cores):
                    os.sched_setaffinity(thread, cores[:threads_on_own_cores])


def shorten_slices() -> None:
    """Give Python's present threads, and those that they start, time slices of 0.2 ms.

    From 6.12 on, Linux runs a thread that wakes up before one whose slice ends later. So an event loop that has work
    does not wait for the end of a native thread's slice, some milliseconds long. It gets no larger share of a core.
    See `man sched_setattr`. Older kernels ignore the slice; on other systems nothing happens.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    for thread in _threads() & _python_threads():
        with suppress(ProcessLookupError):
            nice = os.getpriority(os.PRIO_PROCESS, thread)
            # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
            attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, nice, 0, round(_SLICE_SECONDS * 1e9), 0, 0)
            library.syscall(number, thread, ctypes.create_string_buffer(attributes, len(attributes)), 0)


def _threads() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}


def _python_threads() -> set[int | None]:
    return {thread.native_id for thread in threading.enumerate()}
