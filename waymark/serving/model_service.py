"""A controller or an executor as a process: settings -> models -> app -> server."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from waymark.operating_system.cpu_cores import available_cores
from waymark.operating_system.process_tree import die_with_parent
from waymark.serving.app import create_app
from waymark.serving.exit_codes import exit_clearly
from waymark.serving.http_server import COLLECT_RARELY, bind, serve
from waymark.serving.loaded_models import ServedModel, open_models
from waymark.serving.settings import Service, ServiceSettings, read_settings
from waymark.serving.telemetry import observed_requests

OpenModels = Callable[[Service, ServiceSettings], Mapping[str, ServedModel]]


def run_service(service: Service, open_models: OpenModels = open_models) -> None:
    """Serve until asked to stop. Exit codes as in `waymark.serving.exit_codes`."""
    die_with_parent()
    with exit_clearly(service):
        settings = read_settings()
        observed_requests.start(service, settings)
        bound = bind(settings.host, settings.port_of(service))
        app = create_app(service, open_models(service, settings), settings, warm=False)
        model_server = app.state.model_server
        serve(
            app,
            bound,
            limits=settings.connections,
            grace_seconds=settings.grace_seconds,
            threads_on_own_cores=(settings.threads or available_cores()) if settings.own_cores else 0,
            collect_after=COLLECT_RARELY,
            begin=model_server.warm_up,
            drain=model_server.drain,
        )
