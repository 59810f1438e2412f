"""Memory of a process: how much is resident, and whether glibc keeps what was freed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's `mallopt`, see malloc.h."""
_KEPT_MEMORY = {_TRIM_THRESHOLD: 256 * 2**20, _MMAP_THRESHOLD: 32 * 2**20}


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next batch: new pages from the kernel cost a fifth of a small model's time,
    in inference and in training. This takes some MB more. Without glibc nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in _KEPT_MEMORY.items():
            mallopt(option, size)


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MB. None if the process has ended or the system is not Linux."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return None
