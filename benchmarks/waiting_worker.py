"""A worker whose steps only wait, as if its simulator ran elsewhere: `python -m benchmarks.waiting_worker SECONDS`."""

from __future__ import annotations

import sys
import time

from services.env_runner.settings import Settings
from services.env_runner.worker import run
from waymark.serving.settings import read
from waymark.worlds.base import Step
from waymark.worlds.scripted.environment import ScriptedEnvironment


class WaitingEnvironment(ScriptedEnvironment):
    """The scripted world, as slow as a simulator."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def step(self, action: str) -> Step:
        """Take one action, after a while."""
        time.sleep(self._seconds)
        return super().step(action)


if __name__ == "__main__":
    run(read(Settings), lambda: WaitingEnvironment(float(sys.argv[1])))
