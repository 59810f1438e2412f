"""The command line: evaluate, keep the stack up, work for a remote one, show a run again.

Progress and messages go to stderr, tables and documents to stdout. Errors are one message that says what to do.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from rich.console import Console
from rich.text import Text

from waymark.agent.presets import AGENTS, MOST_BEAMS, find_agents, name_of
from waymark.cli.interrupts import ended_by_signals
from waymark.cli.local_stack import CHECKPOINTS, PORTS, Service, Stack, StackOptions
from waymark.cli.progress import LiveProgress
from waymark.cli.recover import check_written, count_written, kept_data_is_named, recover_results
from waymark.cli.request_errors import checked
from waymark.cli.waiting import HealthWatch
from waymark.clients.addresses import shown
from waymark.clients.services import EvaluationClient
from waymark.contracts import EpisodeResult, EvaluationRequest, EvaluationStatus
from waymark.errors import InvalidInput, NotFound, ServiceError, ServiceRejected, WaymarkError
from waymark.evaluation import export, report
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.export import MEDIA_TYPES
from waymark.evaluation.identity import Makers, check_results
from waymark.evaluation.protocols import episodes
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.scores import evaluation_json, summarise
from waymark.inference.load import Engine
from waymark.loadtest.command import app as loadtest_app

SOME_ERRORED, BAD_INPUT, CANNOT_START, DIED, INTERRUPTED = 1, 2, 3, 4, 130
_EXIT_CODES = (
    "Exit codes: 0 all episodes finished; 1 some errored; 2 bad input; 3 the stack cannot start; "
    "4 a service died mid-run, or results could not be written; 130 interrupted."
)
_WATCH_SECONDS = 0.3
_RESUME_SECONDS = 600.0
_ENDINGS = ", ".join(f".{form}" for form in MEDIA_TYPES)

_app = typer.Typer(
    help=f"Small hierarchical language agents on ScienceWorld.\n\n{_EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_app.add_typer(loadtest_app, name="loadtest")
_out = Console()
_err = Console(stderr=True)

EnvironmentName = Literal["scienceworld", "scripted"]
_EngineOption = Annotated[Engine, typer.Option(envvar="WAYMARK_ENGINE", help="What the models run on.")]
_EnvironmentOption = Annotated[
    EnvironmentName, typer.Option(envvar="WAYMARK_ENVIRONMENT", help="`scripted` is a toy world that needs no Java.")
]
_SlotsOption = Annotated[
    int | None, typer.Option(envvar="WAYMARK_SLOTS", min=1, max=256, help="Episodes at once; default: 3 to 2 cores.")
]
_CheckpointsOption = Annotated[
    Path,
    typer.Option(
        help="Folder with controller/, executor/, flat/, first/; default: those that ship.", show_default=False
    ),
]
_BeamsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_BEAMS,
        help="Beam width of both models. Default: the agent's own, 1 (greedy), of the published agents 5.",
    ),
]
_UrlOption = Annotated[
    str | None,
    typer.Option(envvar="WAYMARK_URL", help="Use the env-runner that listens there instead of starting a stack."),
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
_RunsOption = Annotated[Path, typer.Option(envvar="WAYMARK_RUNS", help="Folder for results and logs.")]


def main() -> None:
    """Entry point of the `waymark` command."""
    _app()


@dataclass
class _Run:
    """An accepted evaluation as this process sees it."""

    status: EvaluationStatus
    results: dict[str, EpisodeResult] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every episode was played to its end."""
        return len(self.results) == self.status.episodes and not any(one.error for one in self.results.values())

    def folder(self, runs: Path) -> Path:
        """Where its results are."""
        return runs / self.status.id

    def outcome(self) -> Run:
        """What came of it so far."""
        return Run(self.status.id, self.status.request, self.status.versions, list(self.results.values()))


@_app.command(epilog=_EXIT_CODES)
def evaluate(
    protocol: Annotated[
        Literal["quick", "dev", "seed", "swiftsage", "full"], typer.Option(help="Which variations, which limits.")
    ] = "quick",
    tasks: Annotated[str | None, typer.Option(help="Task ids or names, e.g. 1-1,4-2; default: all 30.")] = None,
    variations: Annotated[str | None, typer.Option(help="e.g. 0,1; default: those of the protocol.")] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Who plays: {', '.join(AGENTS)}. Several play the same variations and are compared.",
            show_default="hierarchical",
        ),
    ] = None,
    repair: Annotated[bool, typer.Option(help="Replace actions that the environment does not know.")] = True,
    rules: Annotated[
        str, typer.Option(help="Rules of play that agents use: all, none, or names between commas. Default: all.")
    ] = "all",
    beams: _BeamsOption = None,
    repeats: Annotated[
        int, typer.Option(min=1, max=100, help="Plays of each variation. With two or more, luck of play is told apart.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    checkpoints: _CheckpointsOption = CHECKPOINTS,
    engine: _EngineOption = "ctranslate2",
    environment: _EnvironmentOption = "scienceworld",
    slots: _SlotsOption = None,
    runs: _RunsOption = Path("runs"),
    url: _UrlOption = None,
    json: _JsonOption = False,
) -> None:
    """Play ScienceWorld with the shipped checkpoints and show the scores beside the published ones.

    Several agents (`--agent hierarchical,flat`) play side by side and end in a table that compares them.
    """
    played: list[_Run] = []
    options = StackOptions(runs=runs, checkpoints=checkpoints, engine=engine, environment=environment, slots=slots)
    with _told(played, runs, url), ended_by_signals():
        with checked():
            requests = [
                EvaluationRequest(
                    protocol=protocol,
                    tasks=_items(tasks),
                    variations=_numbers(variations),
                    agent=one,
                    seed=seed,
                    repeats=repeats,
                )
                for one in find_agents(agent or ["hierarchical"], repair=repair, beams=beams, rules=rules)
            ]
        episodes("", requests[0])  # bad input is told before anything starts
        _play_to_the_end(played, partial(_submit, requests), options, url, json=json)


@_app.command(epilog=_EXIT_CODES)
def resume(
    runs: Annotated[list[Path], typer.Argument(help="Folders under runs/ of evaluations that were interrupted.")],
    errored: Annotated[bool, typer.Option("--errored", help="Play those episodes again, too, that errored.")] = False,
    checkpoints: _CheckpointsOption = CHECKPOINTS,
    slots: _SlotsOption = None,
    url: _UrlOption = None,
    json: _JsonOption = False,
) -> None:
    """Go on with an evaluation where it was interrupted: what is finished stays, the rest is played as it was asked.

    Several, of one command, go on side by side. They need the checkpoints that they began with.
    """
    played: list[_Run] = []
    folder = runs[0].absolute().parent
    with _told(played, folder, url), ended_by_signals():
        apart = [run for run in runs if run.absolute().parent != folder]
        if apart:
            raise InvalidInput(
                f"{apart[0]} and {runs[0]} are not in one folder.", remedy="Resume them one by one.", field="runs"
            )
        options = StackOptions(runs=folder, checkpoints=checkpoints, slots=slots)
        if url is None:
            for run in runs:
                RunFolder(run).check()  # a damaged one is told before anything starts
            began = RunFolder(runs[0]).played_with(get_args(Engine), get_args(EnvironmentName))
            options = replace(options, engine=began[0], environment=began[1])
        names = [run.absolute().name for run in runs]
        _play_to_the_end(played, partial(_resume, names, errored), options, url, json=json)


@_app.command(epilog=_EXIT_CODES)
def up(
    checkpoints: _CheckpointsOption = CHECKPOINTS,
    engine: _EngineOption = "ctranslate2",
    environment: _EnvironmentOption = "scienceworld",
    slots: _SlotsOption = None,
    runs: _RunsOption = Path("runs"),
    port: Annotated[int, typer.Option(help="Of the env-runner.", min=1, max=65_535)] = PORTS["env-runner"],
    controller_port: Annotated[int, typer.Option(min=1, max=65_535)] = PORTS["controller"],
    executor_port: Annotated[int, typer.Option(min=1, max=65_535)] = PORTS["executor"],
) -> None:
    """Start the local stack and leave it running until Ctrl-C."""
    ports: dict[Service, int] = {"controller": controller_port, "executor": executor_port, "env-runner": port}
    options = StackOptions(
        runs=runs, checkpoints=checkpoints, engine=engine, environment=environment, slots=slots, ports=ports
    )
    with _told(), ended_by_signals():
        _tell("Starting Redis, controller, executor, env-runner and worker …")
        with Stack(options) as stack:
            for service in PORTS:
                _tell(f"{service:<12}{stack.url(service)}")
            runner = stack.url("env-runner")
            _tell(
                f"Evaluations are shown at {runner}/. Logs are in {stack.logs}. Try:\n"
                f"  waymark evaluate --url {runner} --tasks 4-2\n"
                f"  curl {runner}/v1/evaluations -H 'content-type: application/json' -d '{{\"tasks\": [\"4-2\"]}}'\n"
                "Ctrl-C stops all of it."
            )
            while True:
                stack.check()
                time.sleep(_WATCH_SECONDS)


@_app.command()
def worker(environment: _EnvironmentOption = "scienceworld", slots: _SlotsOption = None) -> None:
    """Play episodes for a running stack (WAYMARK_REDIS_URL, WAYMARK_CONTROLLER_URL, WAYMARK_EXECUTOR_URL)."""
    settings = {**os.environ, "WAYMARK_ENVIRONMENT": environment}
    if slots is not None:
        settings["WAYMARK_SLOTS"] = str(slots)
    os.execve(sys.executable, [sys.executable, "-m", "services.env_runner", "worker"], settings)  # noqa: S606 - no shell is wanted


@_app.command()
def recover(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with the data of a Redis, as a command named it that could not write all results."),
    ],
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder for results; default: that of the command, else runs.", show_default=False),
    ] = None,
) -> None:
    """Write results that are kept in the data of an embedded Redis to their run folders, then remove the data."""
    with _told(), ended_by_signals():
        recover_results(data, runs, _tell)


@_app.command("report")
def show_report(
    run: Annotated[Path, typer.Argument(help="A folder under runs/.")],
    json: _JsonOption = False,
) -> None:
    """Show the table of a run on disk again, finished or not."""
    with _told():
        _show([_read(run)], json=json)


@_app.command("export")
def export_run(
    run: Annotated[Path, typer.Argument(help="A folder under runs/.")],
    file: Annotated[Path, typer.Argument(help=f"What to write; ends in {_ENDINGS}.")],
) -> None:
    """Write the results of a run to a file, a row an episode: every turn as .jsonl or .parquet, none as .csv."""
    with _told():
        form = next((one for one in MEDIA_TYPES if file.suffix == f".{one}"), None)
        if form is None:
            raise InvalidInput(f"{file} names no format.", remedy=f"Let it end in {_ENDINGS}.", field="file")
        folder = RunFolder(run)
        evaluation = folder.evaluation()
        export.write(export.encode(folder.checked_results(), form), file)
        _tell(f"What is finished of its {evaluation.episodes} episodes is in {file}.")


@_app.command("compare")
def show_comparison(
    runs: Annotated[list[Path], typer.Argument(help="Folders under runs/; the others are compared with the first.")],
    json: _JsonOption = False,
) -> None:
    """Compare runs of several agents on the variations that all of them have played."""
    with _told():
        comparison = compare([_read(run) for run in runs])
        if json:
            _out.print_json(data=comparison.model_dump(mode="json"))
        else:
            _out.print(report.render_comparison(comparison))


def _read(path: Path) -> Run:
    """A run on disk; tells how much of it is missing. Raises InvalidInput for one of several checkpoints."""
    folder = RunFolder(path)
    evaluation = folder.evaluation()
    makers = Makers(evaluation.versions)
    results = [makers.add(result).without_trajectory() for result in folder.checked_results()]
    makers.check(str(path))
    if len(results) < evaluation.episodes:
        _tell(f"{len(results)} of {evaluation.episodes} episodes are in {path}.")
    return Run(evaluation.id, evaluation.request, evaluation.versions, results)


def _show(runs: Sequence[Run], *, json: bool) -> None:
    """One run's scores beside the published ones, or several runs compared."""
    for run in runs:
        if run.versions is not None:
            check_results(run.id, run.versions, run.results)
    documents = [evaluation_json(run.id, run.request, run.versions, run.results) for run in runs] if json else []
    if len(runs) > 1:
        comparison = compare(runs)
        if json:
            _out.print_json(data={"evaluations": documents, "comparison": comparison.model_dump(mode="json")})
        else:
            _out.print(report.render_comparison(comparison))
    elif json:
        _out.print_json(data=documents[0])
    else:
        _out.print(report.render(summarise(runs[0].results), runs[0].request, runs[0].versions))


_Begin = Callable[[list[_Run], EvaluationClient], Awaitable[None]]
"""Has evaluations played, and notes each as soon as it is."""


def _play_to_the_end(played: list[_Run], begin: _Begin, options: StackOptions, url: str | None, *, json: bool) -> None:
    """Have evaluations played, on a stack for the purpose or on the env-runner at `url`, and show what came of them.

    Raises typer.Exit if they are not all complete, WaymarkError.
    """
    runs = options.runs
    with LiveProgress(_err) as progress:
        if url is not None:
            asyncio.run(_play(played, begin, url, progress, None, runs))
        else:
            progress.say("starting Redis, controller, executor, env-runner and worker")
            with kept_data_is_named(Stack(options), partial(_tell, style="bold red")) as stack:
                asyncio.run(_play(played, begin, stack.url("env-runner"), progress, stack, runs))
                progress.say("stopping the services")
            check_written({run.folder(runs): len(run.results) for run in played})
    _show([run.outcome() for run in played], json=json)
    if url is None:
        for run in played:
            _tell(f"Every turn is in {run.folder(runs)}; `waymark report {run.folder(runs)}` shows its scores again.")
    if not all(run.complete for run in played):
        raise typer.Exit(SOME_ERRORED)


async def _play(
    played: list[_Run],
    begin: _Begin,
    url: str,
    progress: LiveProgress,
    stack: Stack | None,
    runs: Path,
) -> None:
    """Begin evaluations and follow them to their ends into `played`; the stack's logs go to the first one's folder.

    Raises what goes wrong; a dead service by its name.
    """
    async with EvaluationClient(url) as client:
        await begin(played, client)
        if stack is not None:
            stack.keep_logs(played[0].folder(runs))
        progress.begin(sum(run.status.episodes for run in played))
        following = asyncio.create_task(_follow_all(played, client, progress))
        health = HealthWatch(url, lambda: [run.status for run in played], _tell)
        try:
            while not following.done():
                await asyncio.wait({following}, timeout=_WATCH_SECONDS)
                if stack is not None:
                    stack.check()
                unwritable = await health.look()
                if stack is not None and unwritable is not None:
                    raise unwritable
            following.result()
        except ServiceError:
            await asyncio.sleep(_WATCH_SECONDS)  # a service that died is reaped by now, and can be named
            if stack is not None:
                stack.check()
            raise
        finally:
            following.cancel()


async def _submit(requests: Sequence[EvaluationRequest], played: list[_Run], client: EvaluationClient) -> None:
    """Submit all or none: where one is refused, those before it are cancelled."""
    try:
        for request in requests:
            status = await client.submit(request)
            played.append(_Run(status))
    except ServiceRejected:
        while played:
            await client.cancel(played.pop().status.id)
        raise


async def _resume(names: Sequence[str], errored: bool, played: list[_Run], client: EvaluationClient) -> None:
    """Have evaluations go on; one that Redis does not know is read from its folder first, which may take a while."""
    async with EvaluationClient(client.base_url, timeout=_RESUME_SECONDS) as patient:
        for name in names:
            played.append(_Run(await patient.resume(name, errored=errored)))  # noqa: PERF401 - each as soon as it is


async def _follow_all(played: Sequence[_Run], client: EvaluationClient, progress: LiveProgress) -> None:
    names = [name_of(run.status.request.agent) if len(played) > 1 else "" for run in played]
    await asyncio.gather(*(_follow(run, client, progress, name) for run, name in zip(played, names, strict=True)))


async def _follow(run: _Run, client: EvaluationClient, progress: LiveProgress, name: str) -> None:
    async for event in client.events(run.status.id):
        if isinstance(event, EvaluationStatus):
            if event.waiting != run.status.waiting:
                progress.waiting(event.waiting)
            run.status = event
        else:
            run.results[event.id] = event
            progress.finished(event, name)


def _items(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(item.strip() for item in text.split(",") if item.strip())


def _numbers(text: str | None) -> tuple[int, ...] | None:
    items = _items(text)
    try:
        return None if items is None else tuple(int(item) for item in items)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no list of variations.", remedy="Give numbers, e.g. 0,1.", field="variations"
        ) from None


@contextmanager
def _told(played: Sequence[_Run] = (), runs: Path = Path(), url: str | None = None) -> Iterator[None]:
    """Turn an error or an interruption into one message, where the finished episodes are, and an exit code."""
    try:
        yield
    except WaymarkError as error:
        _tell(str(error), style="bold red")
        begun = _tell_finished(played, runs, url)
        wrong = isinstance(error, InvalidInput | NotFound | ServiceRejected)
        raise typer.Exit(BAD_INPUT if wrong else DIED if begun else CANNOT_START) from error
    except KeyboardInterrupt as interrupt:
        _tell("Interrupted.", style="bold red")
        _tell_finished(played, runs, url)
        raise typer.Exit(INTERRUPTED) from interrupt


def _tell_finished(played: Sequence[_Run], runs: Path, url: str | None) -> bool:
    """Say what there is of evaluations that did not end as they should; False if none ever began."""
    for run in played:
        if url is None:
            folder = RunFolder(run.folder(runs))
            count = count_written(folder)
            if count is None:
                _tell(f"{folder.path} holds no results that can be read.")
                continue
            _tell(
                f"{count} of {run.status.episodes} episodes are finished, in {folder.path}; "
                f"`waymark report {folder.path}` shows them, `waymark resume {folder.path}` goes on."
            )
        elif len(run.results) < run.status.episodes:
            evaluation = f"{shown(url)}/v1/evaluations/{run.status.id}"
            _tell(f"The evaluation goes on without you: see {evaluation}, or end it with POST {evaluation}/cancel")
    return bool(played)


def _tell(text: str, style: str = "") -> None:
    _err.print(Text(text, style=style), soft_wrap=True)
