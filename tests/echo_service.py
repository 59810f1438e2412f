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
from waymark.serving.app import create_app
from waymark.serving.models import scripted_model
from waymark.serving.run import bind, exit_clearly, serve
from waymark.serving.settings import ServiceSettings, read_settings


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


def main() -> None:
    """Serve until asked to stop."""
    with exit_clearly("echo"):
        _serve(read_settings())


def _serve(settings: ServiceSettings) -> None:
    bound = bind(settings.host, settings.port_of("executor"))
    model = scripted_model("default", "executor", Echo(float(sys.argv[1])))
    app = create_app("executor", {"default": model}, settings, warm=False)
    model_server = app.state.model_server
    serve(
        app,
        bound,
        limits=settings.connections,
        grace_seconds=settings.grace_seconds,
        begin=model_server.warm_up,
        drain=model_server.drain,
    )


if __name__ == "__main__":
    main()
