"""An executor without weights, as a process to start and stop: `python -m tests.echo_service SECONDS`.

Answers each state with its own sub-goal, and takes SECONDS for each batch of at most WAYMARK_MAX_BATCH.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from waymark.generation import Generation, Prompt
from waymark.generation.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.models import scripted_model
from waymark.serving.run import bind, serve
from waymark.serving.settings import read_settings


class Echo(ScriptedGenerator):
    """Says the first part of an executor's prompt: `go(7)` as `go 7`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda prompt: [(prompt.partition(" | ")[0], -1.0)])
        self._seconds = seconds

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        time.sleep(self._seconds)
        return super().generate(prompts, n=n)


def main() -> None:
    """Serve until asked to stop."""
    settings = read_settings()
    bound = bind(settings.host, settings.port_of("executor"))
    model = scripted_model("default", "executor", Echo(float(sys.argv[1])))
    app = create_app("executor", {"default": model}, settings)
    serve(app, bound, grace_seconds=settings.grace_seconds, drain=app.state.desk.drain)


if __name__ == "__main__":
    main()
