"""A worker whose steps only wait, as if its simulator ran elsewhere: `python -m benchmarks.waiting_worker SECONDS`."""

from __future__ import annotations

import sys
import time

from services.env_runner.settings import Settings
from services.env_runner.worker import run
from waymark.serving.settings import read
from waymark.worlds.base import EnvironmentLimits, Step
from waymark.worlds.registry import get_world


class WaitingEnvironment:
    """Implements `Environment`: the scripted world, as slow as a simulator."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._environment = get_world("scripted").open(EnvironmentLimits())
        self.reset = self._environment.reset
        self.gold_path = self._environment.gold_path
        self.valid_actions = self._environment.valid_actions
        self.close = self._environment.close

    def step(self, action: str) -> Step:
        """Take one action, after a while."""
        time.sleep(self._seconds)
        return self._environment.step(action)


if __name__ == "__main__":
    run(read(Settings), lambda: WaitingEnvironment(float(sys.argv[1])))
