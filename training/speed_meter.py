"""Measures the speed and memory of a run, and estimates its remaining time."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from typing import Final

import torch

_WINDOW: Final = 50
"""Number of updates over which a rate is averaged."""


class Meter:
    """Measures the updates and evaluations of one process. The counts passed to it include all devices."""

    def __init__(self) -> None:
        self._updates: deque[tuple[float, float, float]] = deque(maxlen=_WINDOW)
        self._evaluation = 0.0
        self._began = time.monotonic()

    def begin(self) -> None:
        """Start the clock of an update or an evaluation."""
        self._began = time.monotonic()

    def updated(self, examples: float, tokens: float) -> None:
        """Count an update that has seen so many examples and tokens (of prompts and answers, without padding)."""
        self._updates.append((max(1e-9, time.monotonic() - self._began), examples, tokens))

    def evaluated(self) -> None:
        """Count an evaluation."""
        self._evaluation = time.monotonic() - self._began

    def rates(self, updates: int, evaluations: int) -> dict[str, float]:
        """Examples and tokens a second, peak memory in MB, and the estimated seconds for the remaining work."""
        seconds, examples, tokens = (sum(column) for column in zip(*self._updates, strict=True))
        return {
            "examples_per_second": examples / seconds,
            "tokens_per_second": tokens / seconds,
            "memory_mb": peak_memory_mb(),
            "seconds_left": updates * seconds / len(self._updates) + evaluations * self._evaluation,
        }


def peak_memory_mb() -> float:
    """The largest memory of this process so far, in MB: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
