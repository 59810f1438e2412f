"""`python -m services.env_runner` serves the app, `… worker` plays episodes, `… publish` writes what Redis holds, and
`… view RUN…` shows run folders in the dashboard, without Redis and models.

`publish` writes every result that is in Redis and not in the runs folder, prints a line for each evaluation, and ends.

Exit codes: 0 stopped on request, 2 wrong settings, 3 its port is in use, 5 some results could not be written to the
runs folder and stay in Redis. Errors are one line on stderr that says what to do.
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.env_runner import worker
from services.env_runner.app import create_app
from services.env_runner.environments import open_environment
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.result_writer import ResultKeeper
from services.env_runner.run_library import RunLibrary, name_folders
from services.env_runner.settings import Settings, ViewerSettings
from services.env_runner.viewer import create_viewer
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.errors import InvalidInput
from waymark.operating_system.process_tree import die_with_parent
from waymark.serving.exit_codes import exit_clearly
from waymark.serving.http_server import bind, serve
from waymark.serving.printable_text import printable
from waymark.serving.settings import read
from waymark.serving.telemetry import observed_requests
from waymark.worlds.base import Environment

UNWRITTEN = 5


def main() -> None:
    """Run the part that the command line names."""
    part = sys.argv[1] if len(sys.argv) > 1 else "app"
    if part not in {"app", "worker", "publish", "view"}:
        sys.exit(f"Unknown part {part!r}: python -m services.env_runner [app|worker|publish|view RUN…]")
    die_with_parent()
    with exit_clearly("env-runner" if part == "app" else part):
        if part == "view":
            _view([Path(name) for name in sys.argv[2:]])
            return
        settings = read(Settings)
        observed_requests.start("env-runner" if part == "app" else part, settings)
        if part == "app":
            _serve(settings)
        elif part == "publish":
            _publish(settings)
        else:
            worker.run(settings, lambda: _open(settings))


def _open(settings: Settings) -> Environment:
    return open_environment(
        settings.environment,
        memory_mb=settings.simulator_memory_mb,
        timeout=settings.simulator_timeout_seconds,
        cache=settings.simulator_cache,
    )


def _serve(settings: Settings) -> None:
    bound = bind(settings.host, settings.port)
    store = JobStore(settings.redis, lease_seconds=settings.lease_seconds)
    store.ping()
    store.announce()
    controller = ControllerClient(settings.controller_url)
    executor = ExecutorClient(settings.executor_url)
    app = create_app(settings, store, controller, executor, Provenance.here(settings), PlayQueue(settings.redis))
    try:
        serve(app, bound, limits=settings.connections)
    except SystemExit as end:
        if not end.code and app.state.publisher.unwritten:
            raise SystemExit(UNWRITTEN) from None
        raise


def _view(folders: list[Path]) -> None:
    """Serve the dashboard over run folders; without any, over those in WAYMARK_RUNS."""
    settings = read(ViewerSettings)
    library = RunLibrary(None, None if folders else settings.runs, name_folders(folders))
    bound = bind(settings.host, settings.port)
    where = f"http://{settings.host}:{bound.getsockname()[1]}/"
    entries, problems = library.entries_and_problems()
    for name, problem in problems.items():
        sys.stderr.write(f"Run {printable(name)} is left out. {printable(problem)}\n")
    if folders and not entries:
        raise InvalidInput("None of these runs can be read.", remedy="Name other run folders.")
    count = len(entries)
    sys.stderr.write(f"{count} {'run is' if count == 1 else 'runs are'} shown at {where}. Ctrl-C ends this.\n")
    serve(create_viewer(settings, library), bound, limits=settings.connections)


def _publish(settings: Settings) -> None:
    """Write every result that Redis holds; exit with UNWRITTEN if some could not be."""
    store = JobStore(settings.redis)
    keeper = ResultKeeper(store, settings.runs)
    keeper.catch_up(final=True)
    failed = {case.evaluation: f"{case.problem} {case.remedy}" for case in keeper.set_aside.report()}
    for status in store.statuses():
        if status.id not in failed:
            there = sum(1 for _ in keeper.folder(status.id).results())
            sys.stdout.write(f"{keeper.folder(status.id).path}: {there} of {status.episodes} episodes are finished.\n")
    for evaluation, problem in failed.items():
        sys.stderr.write(f"{evaluation}: {problem}\n")
    if failed:
        raise SystemExit(UNWRITTEN)


if __name__ == "__main__":
    main()
