"""What a process requests from its operating system: cores, thread priorities, memory, and its end with its parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_BEHIND = 5
"""Niceness of native threads above Python's. If both need a core, Python's gets three times as much of it."""
_SLICE_SECONDS = 0.0002
"""Time slice of Python's threads."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call on each machine."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's `mallopt`, see malloc.h."""
_KEPT_MEMORY = {_TRIM_THRESHOLD: 256 * 2**20, _MMAP_THRESHOLD: 32 * 2**20}
_CGROUPS = Path("/sys/fs/cgroup")


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


def available_cores() -> int:
    """Cores that this process may use: its affinity, cut by the CPU quota of a container or a service; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = None
    with suppress(OSError):
        quota = cgroup_quota(Path("/proc/self/cgroup").read_text())
    return cores if quota is None else max(1, min(cores, round(quota)))


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


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next batch: new pages from the kernel cost a fifth of a small model's time,
    in inference and in training. This takes some MB more. Without glibc nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in _KEPT_MEMORY.items():
            mallopt(option, size)


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


def simulators_at_once() -> int:
    """Number of simulators that keep the cores busy: three for two cores, because each waits for the models part of its
    time.
    """
    cores = available_cores()
    return cores + (cores + 1) // 2


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MB. None if the process has ended or the system is not Linux."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds of these processes so far, over all of their threads (`man proc_pid_stat`). Linux only."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started, from whichever thread, and that still run. Linux only."""
    ids: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            ids += map(int, file.read_text().split())
    return ids


def cgroup_quota(groups: str, root: Path = _CGROUPS) -> float | None:
    """The smallest CPU quota, in cores, of the control groups in `/proc/self/cgroup` and their parents.

    In a container the list may name groups of the host that are not to be seen; its own are at the root then.
    """
    quotas: list[float] = []
    for line in groups.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / name.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                quotas += _quota(folder)
    return min(quotas, default=None)


def _quota(group: Path) -> list[float]:
    """The quota of one group, in cores, of version 2 or 1; nothing where it has none."""
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        return [] if quota == "max" else [int(quota) / int(period)]
    with suppress(OSError, ValueError):
        limit = int((group / "cpu.cfs_quota_us").read_text())
        return [] if limit <= 0 else [limit / int((group / "cpu.cfs_period_us").read_text())]
    return []
