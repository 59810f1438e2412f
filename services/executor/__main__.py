"""`python -m services.executor`: settings -> models -> app -> server. Exit codes as in `waymark.serving.run`."""

from __future__ import annotations

from waymark.process import die_with_parent
from waymark.serving.app import create_app
from waymark.serving.models import open_models
from waymark.serving.run import COLLECT_RARELY, bind, exit_clearly, serve
from waymark.serving.settings import read_settings
from waymark.serving.telemetry import observe


def main() -> None:
    """Serve until asked to stop."""
    die_with_parent()
    with exit_clearly("executor"):
        settings = read_settings()
        observe.start("executor", settings)
        bound = bind(settings.host, settings.port_of("executor"))
        app = create_app("executor", open_models("executor", settings), settings, warm=False)
        model_server = app.state.model_server
        serve(
            app,
            bound,
            limits=settings.connections,
            grace_seconds=settings.grace_seconds,
            engine_cores=settings.threads if settings.part_cores else 0,
            collect_after=COLLECT_RARELY,
            begin=model_server.warm_up,
            drain=model_server.drain,
        )


if __name__ == "__main__":
    main()
