"""The CPU cores that this process may use, and how many simulators keep them busy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores that this process may use: its affinity, cut by the CPU quota of a container or a service; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = None
    with suppress(OSError):
        quota = cgroup_quota(Path("/proc/self/cgroup").read_text())
    return cores if quota is None else max(1, min(cores, round(quota)))


def simulators_at_once() -> int:
    """Number of simulators that keep the cores busy: three for two cores, because each waits for the models part of its
    time.
    """
    cores = available_cores()
    return cores + (cores + 1) // 2


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
