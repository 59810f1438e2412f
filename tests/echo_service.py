"""An executor without weights, as a process to start and stop: `python -m tests.echo_service SECONDS`.

Answers each state with its own sub-goal, and takes SECONDS for each batch of at most WAYMARK_MAX_BATCH, and to warm up;
fails at that with SECONDS below 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from waymark.errors import EngineUnavailable
from waymark.inference import Generation, Prompt
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.loaded_models import ServedModel, scripted_model
from waymark.serving.model_service import run_service
from waymark.serving.settings import Service, ServiceSettings


class Echo(ScriptedGenerator):
    """Says the first part of an executor's prompt: `go(7)` as `go 7`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda prompt: [(prompt.partition(" | ")[0], -1.0)])
        self._seconds = seconds

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        if self._seconds < 0:
            raise EngineUnavailable("The engine fails at its first answer.")
        time.sleep(self._seconds)
        return super().generate(prompts, n=n)


def open_echo(service: Service, settings: ServiceSettings) -> dict[str, ServedModel]:
    """The one model of this service."""
    return {"default": scripted_model("default", "executor", Echo(float(sys.argv[1])))}


if __name__ == "__main__":
    run_service("executor", open_echo)
