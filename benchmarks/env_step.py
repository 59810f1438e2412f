"""How much faster a step of our ScienceWorld slot is than one of `ScienceWorldEnv`.

    python -m benchmarks.env_step

Both sides play the same actions, the oracle's, in JVMs of their own, one action each in turn. A step gives
observation, look, inventory, score, moves and the end on both sides; `ScienceWorldEnv` lists all valid actions besides.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from itertools import chain

from rich.console import Console
from scienceworld import ScienceWorldEnv

from waymark.worlds.base import EnvironmentLimits
from waymark.worlds.registry import get_world

EPISODES = (("4-2", 0), ("1-1", 0), ("2-1", 0), ("3-3", 0), ("4-1", 0), ("5-1", 0), ("6-1", 0), ("7-1", 0))
"""Task and variation: one of most topics, in full rooms and empty ones. The first warms both JVMs, uncounted."""
SIMPLIFICATIONS = "easy"
WORLD = get_world("scienceworld")
MAX_STEPS = 60
"""Of one episode."""


def measure() -> tuple[list[float], list[float]]:
    """Milliseconds of every step: ours, theirs."""
    slot = WORLD.open(EnvironmentLimits())
    env = ScienceWorldEnv("", envStepLimit=10_000)
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    try:
        for task, variation in EPISODES:
            path = slot.gold_path(task, variation, SIMPLIFICATIONS)[:MAX_STEPS]
            slot.reset(task, variation, SIMPLIFICATIONS)
            env.load(WORLD.find_task(task).name, variation, SIMPLIFICATIONS)
            env.reset()
            pairs = [(_milliseconds(slot.step, action), _milliseconds(env.step, action)) for action in path]
            ours.append([mine for mine, _ in pairs])
            theirs.append([other for _, other in pairs])
    finally:
        env.close()
        slot.close()
    return list(chain(*ours[1:])), list(chain(*theirs[1:]))


def _milliseconds(step: Callable[[str], object], action: str) -> float:
    began = time.perf_counter()
    step(action)
    return 1_000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print both medians, then the ratio."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):  # the simulator writes a file where it runs
        ours, theirs = measure()
    console.print(f"{WORLD.version}; {os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    console.print(f"{len(ours)} steps, median ms: ScienceWorldEnv {statistics.median(theirs):.1f}")
    console.print(f"{len(ours)} steps, median ms: ScienceWorldSlot {statistics.median(ours):.1f}")
    console.print(f"ratio {statistics.median(theirs) / statistics.median(ours):.1f}")


if __name__ == "__main__":
    main()
