"""A worker in a world that is slow or deadly: `python -m tests.integration.faulty_worker SECONDS [VARIATIONS]`.

It is the scripted world. Each step takes SECONDS. An episode of one of VARIATIONS (`3,50,120`) kills the worker at
its first step; this process then starts it again, as whatever supervises workers does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time

from services.env_runner.settings import Settings
from services.env_runner.worker import run
from waymark.contracts import Opening
from waymark.operating_system.process_tree import end_with
from waymark.serving.exit_codes import exit_clearly
from waymark.serving.settings import read
from waymark.serving.telemetry import observed_requests
from waymark.worlds.base import Step
from waymark.worlds.scripted.environment import ScriptedEnvironment

STEPPING = "A step begins."
_log = logging.getLogger(__name__)


class FaultyEnvironment(ScriptedEnvironment):
    """The scripted world, delayed and poisoned."""

    def __init__(self, seconds: float, poison: frozenset[int]) -> None:
        self._seconds = seconds
        self._poison = poison
        super().__init__()

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        self._poisoned = variation in self._poison
        return super().reset(task_id, variation, options)

    def step(self, action: str) -> Step:
        _log.info(STEPPING)
        time.sleep(self._seconds)
        if self._poisoned:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def main() -> None:
    """Work until asked to stop."""
    seconds = float(sys.argv[1])
    variations = sys.argv[2].split(",") if len(sys.argv) > 2 else []
    poison = frozenset(map(int, variations))
    if poison:
        _supervise()
    with exit_clearly("worker"):
        settings = read(Settings)
        observed_requests.start("worker", settings)
        run(settings, lambda: FaultyEnvironment(seconds, poison))


def _supervise() -> None:
    """Return in a child of this process, and in another one each time it dies. A fork saves a second of imports."""
    supervisor = os.getpid()
    while (child := os.fork()) != 0:
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
    end_with(supervisor)


if __name__ == "__main__":
    main()
