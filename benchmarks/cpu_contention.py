"""Who had the cores while something was measured: the host of a virtual machine, other processes, or who waited.

A service that answers late has either computed or not been let, and the kernel counts both. `ContentionMonitor` notes
once a second what the host stole (`man proc_stat`), what processes other than the measured ones used, and how long the
event loop of the service could have run and waited for a core. Linux only; on a machine of one's own nothing is stolen.

A neighbour on the same physical core takes nothing that the kernel counts, but everything takes longer. So the monitor
also measures ten times a second how much CPU time a short loop takes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from bisect import bisect
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.services import Service
from waymark.operating_system.process_tree import cpu_seconds

_MARK_EVERY = 1.0
_LOOPS_A_MARK = 10
_LOOP_STEPS = 3_000
"""Steps of the short loop; they take 0.04 ms on a processor of 2023."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What had been used at a moment; times in seconds since the machine or the process started."""

    moment: float
    memory_mb: float
    stolen: float
    others: float
    waited: float = 0.0
    loop_seconds: float = 1.0
    """CPU time of the short loop, the median since the mark before."""


@dataclass(frozen=True, slots=True)
class Contention:
    """What was taken between two marks, in seconds of one core."""

    seconds: float
    """Between the marks."""
    stolen: float
    """Kept by the host."""
    others: float
    """Used by processes other than the service and this one."""
    waited: float
    """That the service's event loop could have run and had no core: the two above had it, or its own neighbours."""
    speed: float
    """Speed of this process's core in the slowest second, as a share of its median speed."""

    @property
    def cores(self) -> float:
        """What host and others took, as a number of cores."""
        return (self.stolen + self.others) / self.seconds


@dataclass(slots=True)
class ContentionMonitor:
    """Notes once a second what the service holds and who had the cores. A context."""

    service: Service
    marks: list[Mark] = field(default_factory=list)
    _loops: list[float] = field(default_factory=list)
    """Since the last mark."""
    _task: asyncio.Task[None] = field(init=False)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._monitor())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self._note()

    async def _monitor(self) -> None:
        while True:
            self._note()
            for _ in range(_LOOPS_A_MARK):
                await asyncio.sleep(_MARK_EVERY / _LOOPS_A_MARK)
                self._loops.append(_loop_seconds())

    def _note(self) -> None:
        busy, stolen = _machine_seconds()
        pid = self.service.process.pid
        others = busy - cpu_seconds([os.getpid(), pid])
        loop_seconds = statistics.median(self._loops or [_loop_seconds()])
        self._loops.clear()
        memory, waited = self.service.memory_mb, _waited_seconds(pid)
        self.marks.append(Mark(time.monotonic(), memory, stolen, others, waited, loop_seconds))

    def marks_around(self, began: float, ended: float) -> list[Mark]:
        """The marks between two moments, and the last one before and the first one after them."""
        moments = [mark.moment for mark in self.marks]
        return self.marks[max(0, bisect(moments, began) - 1) : bisect(moments, ended) + 1]

    def between(self, began: float, ended: float) -> Contention:
        """What was taken between two moments, as near as the marks are."""
        first, *middle, last = self.marks_around(began, ended)
        usual = statistics.median(mark.loop_seconds for mark in self.marks)
        return Contention(
            seconds=last.moment - first.moment,
            stolen=last.stolen - first.stolen,
            others=max(0.0, last.others - first.others),
            waited=last.waited - first.waited,
            speed=usual / max(mark.loop_seconds for mark in (*middle, last)),
        )


def _loop_seconds() -> float:
    """CPU time of a short loop that needs no memory."""
    began = time.thread_time()
    for _ in range(_LOOP_STEPS):
        pass
    return time.thread_time() - began


def _machine_seconds() -> tuple[float, float]:
    """CPU time so far that was used, by anybody, and that the host kept from this machine (`man proc_stat`)."""
    with suppress(OSError):
        user, nice, system, _, _, irq, softirq, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
        ticks = os.sysconf("SC_CLK_TCK")
        return (user + nice + system + irq + softirq) / ticks, stolen / ticks
    return 0.0, 0.0


def _waited_seconds(pid: int) -> float:
    """How long the first thread of a process, where its event loop runs, has been ready to run and had no core."""
    with suppress(OSError):  # a kernel without schedstat
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0
