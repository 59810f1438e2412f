"""`waymark loadtest URL` and `waymark loadtest compare A.json B.json`."""

from __future__ import annotations

import asyncio
import platform
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
import uvloop
from pydantic import ValidationError
from rich.progress import BarColumn, Progress, TextColumn
from typer.core import TyperGroup

from waymark import __version__
from waymark.command_hints import command, install
from waymark.commands.console import err as _err
from waymark.commands.console import out as _out
from waymark.commands.console import tell as _tell
from waymark.commands.console import tell_error
from waymark.commands.options import finite
from waymark.commands.urls import check_url
from waymark.errors import InvalidInput, NotFound, ServiceRejected, WaymarkError
from waymark.evaluation.run_folder_checks import check_numbers, read_small
from waymark.loadtest import load_report, load_tables, sample_states
from waymark.loadtest import saturation_curve as picture
from waymark.loadtest.load_loops import Arrivals, Load, Samples
from waymark.loadtest.load_report import REFUSALS, LoadReport, Stage, Target
from waymark.loadtest.load_stages import RAMP_CONCURRENCY, Plan, measure, plan
from waymark.loadtest.sample_states import RecordedState
from waymark.operating_system.cpu_cores import available_cores

SOME_FAILED, BAD_INPUT, CANNOT_REACH, INTERRUPTED = 1, 2, 3, 130
_EXIT_CODES = (
    "Exit codes: 0 every request was answered or refused in good order (429, 503, 504); 1 some failed otherwise; "
    "2 bad input; 3 the service cannot be reached; 130 interrupted."
)
_SHOW_SECONDS = 0.25
_SHORTEST_BAR, _LONGEST_BAR = 5, 40
_BESIDE_BAR = 68
"""Columns of a terminal that the words beside the bar take; on narrower ones the throughput alone is shown."""

_REPORT: Final = "Name a file that --json has printed."

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]


class _UrlFirst(TyperGroup):
    """Takes `loadtest URL …` for `loadtest run URL …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where its name was left away."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_UrlFirst,
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Measure throughput, latency, and the behaviour under overload.\n\n"
        f"`{command('loadtest')} URL ...` is `{command('loadtest')} run URL ...`.\n\n{_EXIT_CODES}"
    ),
)


@dataclass(slots=True)
class _Test:
    """A test as far as it has come."""

    plan: Plan
    seed: int
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    target: Target | None = None
    distinct: int = 0
    short: int = 0
    stages: list[Stage] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@app.command("run", epilog=_EXIT_CODES)
def run_test(
    url: Annotated[str, typer.Argument(help="Address of a controller, an executor or an OpenAI-compatible server.")],
    rate: Annotated[str | None, typer.Option(help="Open loop: requests per second of each stage, e.g. 20,40.")] = None,
    arrivals: Annotated[
        Arrivals,
        typer.Option(
            help="Times of an open loop's requests: random, as from independent callers (poisson), or even (constant)."
        ),
    ] = "poisson",
    concurrency: Annotated[
        str | None, typer.Option(help="Closed loop: concurrent callers in each stage, e.g. 1,16,64.")
    ] = None,
    ramp: Annotated[
        bool,
        typer.Option(
            "--ramp", help=f"Measure the capacity with {RAMP_CONCURRENCY} callers, then raise the rate to twice that."
        ),
    ] = False,
    seconds: Annotated[float, typer.Option(callback=finite, min=0.1, max=86_400, help="Seconds of each stage.")] = 10.0,
    requests: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Largest number of requests of each stage.")
    ] = 100_000,
    run: Annotated[
        Path | None,
        typer.Option("--states", help="Run folder with the states to send.", show_default="those that ship"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model in the requests.", show_default="default")
    ] = None,
    api: Annotated[
        Literal["auto", "completions"], typer.Option(help="`completions`: use OpenAI's API for Waymark's services too.")
    ] = "auto",
    key: Annotated[str | None, typer.Option(envvar="WAYMARK_API_KEY", help="API key to send.")] = None,
    timeout: Annotated[
        float, typer.Option(callback=finite, min=0.1, max=3_600, help="Seconds that a request may take.")
    ] = 30.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of arrivals and of the order of states.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve to this .png or .svg file.")] = None,
    json: _Json = False,
) -> None:
    """Measure throughput and latency. Give one of --rate, --concurrency and --ramp. Default: --concurrency 16."""
    with _errors_reported():
        stages = plan(
            rates=_numbers(rate, "rate"),
            concurrencies=[round(number) for number in _numbers(concurrency, "concurrency")],
            ramp=ramp,
            arrivals=arrivals,
            seconds=seconds,
            requests=requests,
        )
        url = check_url(url)
        if plot is not None:
            picture.check(plot)
        if find_spec("aiohttp") is None:
            raise InvalidInput("A load test needs aiohttp.", remedy=f"Run `{install('loadtest')}`.")
        recorded = sample_states.sample() if run is None else sample_states.from_run(run)
        test = _Test(stages, seed)
        started = datetime.now(UTC)
        uvloop.run(_measure(test, url, recorded, api=api, model=model, key=key, patience=timeout))
        if test.target is None:
            raise typer.Exit(INTERRUPTED)
        report = LoadReport(
            waymark=__version__,
            started=started.isoformat(timespec="seconds"),
            machine=f"{available_cores()} cores, {platform.system()} {platform.machine()}",
            target=test.target,
            states="sample" if run is None else str(run),
            distinct=test.distinct,
            short=test.short,
            seed=seed,
            interrupted=test.stop.is_set(),
            stages=tuple(test.stages),
        )
        if json:
            _out.print_document(report.model_dump(mode="json"))
        else:
            _out.print(load_tables.render(report))
        if plot is not None and report.stages:
            picture.draw(report, plot)
            _tell(f"The curve is in {plot}.")
    if report.interrupted or report.failed:
        raise typer.Exit(INTERRUPTED if report.interrupted else SOME_FAILED)


@app.command("compare")
def compare_tests(
    first: Annotated[Path, typer.Argument(help="Report of a load test, as printed with --json.")],
    second: Annotated[Path, typer.Argument(help="Report of another load test.")],
    json: _Json = False,
) -> None:
    """Show two load tests side by side, with the ratio of each figure."""
    with _errors_reported():
        first_report, second_report = _read(first), _read(second)
        changes = load_report.compare(first_report, second_report)
        if json:
            _out.print_document(
                {load: [change.model_dump() for change in figures] for load, figures in changes.items()}
            )
        else:
            _out.print(load_tables.render_comparison(first_report, second_report, changes))


async def _measure(
    test: _Test,
    url: str,
    recorded: Sequence[RecordedState],
    *,
    api: Literal["auto", "completions"],
    model: str | None,
    key: str | None,
    patience: float,
) -> None:
    """Find out who is there and do all stages, into `test`. The first Ctrl-C ends it with what it has."""
    from waymark.loadtest import request_bodies, send_requests
    from waymark.loadtest.target import find

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, test.stop.set)
    async with send_requests.connect(key=key, timeout=patience) as session:
        test.target = await find(session, url, api=api, model=model)
        bodies = request_bodies.write_requests(test.target, recorded, seed=test.seed)
        test.distinct = len(bodies)
        chosen = request_bodies.states_for(test.target, recorded)
        test.short = sample_states.missing_turns(chosen, test.target.history_turns or 0)
        await send_requests.probe(session, test.target, bodies)
        send = send_requests.sender(session, test.target, bodies, run=test.run)
        async with _Shown(test.plan) as shown:
            async for stage in measure(
                send, test.plan, run=test.run, seed=test.seed, stop=test.stop, watch=shown.begin
            ):
                test.stages.append(stage)
                shown.end(stage)


class _Shown:
    """What a person sees meanwhile: a live line on a terminal, a line a stage elsewhere. A context."""

    def __init__(self, plan: Plan) -> None:
        self._stages = len(plan)
        self._number = 0
        self._load: Load | None = None
        self._samples: Samples | None = None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=max(_SHORTEST_BAR, min(_LONGEST_BAR, _err.width - _BESIDE_BAR))),
            TextColumn("{task.fields[so_far]}"),
            console=_err,
            disable=not _err.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", so_far="")

    async def __aenter__(self) -> _Shown:
        self._bar.start()
        self._refreshing = asyncio.create_task(self._refresh())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._refreshing.cancel()
        with suppress(asyncio.CancelledError):
            await self._refreshing
        self._bar.stop()

    def begin(self, load: Load, samples: Samples) -> None:
        """A stage begins."""
        self._number += 1
        self._load, self._samples = load, samples

    def end(self, stage: Stage) -> None:
        """A stage is over."""
        if not _err.is_terminal:
            latency = f"p50 {stage.latency_ms.p50} ms, p99 {stage.latency_ms.p99} ms" if stage.answered else "no answer"
            _tell(f"{self._number}/{self._stages} {stage.name}: {stage.throughput:.1f}/s, {latency}")

    async def _refresh(self) -> None:
        while True:
            if self._load and self._samples:
                load, samples = self._load, self._samples
                elapsed = time.monotonic() - samples.began
                answered = sum(count for outcome, count in samples.counts.items() if load_report.is_answer(outcome))
                refused = sum(samples.counts[refusal] for refusal in REFUSALS)
                failed = samples.counts.total() - answered - refused
                load_text = f"{load.rate:.1f}/s" if load.rate else f"{load.concurrency} at once"
                self._bar.update(
                    self._task,
                    description=f"{self._number}/{self._stages} {load_text}",
                    total=1.0,
                    completed=min(1.0, max(elapsed / load.seconds, samples.sent / load.requests)),
                    so_far=(
                        f"{answered / elapsed:.1f}/s, {answered} answered, {refused} refused, {failed} failed"
                        if _err.width >= _BESIDE_BAR
                        else f"{answered / elapsed:.1f}/s"
                    ),
                )
            await asyncio.sleep(_SHOW_SECONDS)


def _numbers(text: str | None, option: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        numbers = [0]
    if not all(0 < number <= 100_000 for number in numbers):
        raise InvalidInput(f"--{option} {text} is no list of numbers up to 100,000.", remedy="Use e.g. 20,40.")
    return numbers


def _read(path: Path) -> LoadReport:
    try:
        report = LoadReport.model_validate_json(read_small(path))
        check_numbers(report, str(path), signed=True)  # a timer may fire early: below 0
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.", remedy=_REPORT) from error
    except ValidationError as error:
        raise InvalidInput(f"{path} is no load test of this version.", remedy=_REPORT) from error
    return report


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Turn an error into one message and an exit code."""
    try:
        yield
    except WaymarkError as error:
        tell_error(error)
        wrong = isinstance(error, InvalidInput | NotFound | ServiceRejected)
        raise typer.Exit(BAD_INPUT if wrong else CANNOT_REACH) from error
