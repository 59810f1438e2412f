"""Plays evaluations to their end, on a stack of its own or on a running env-runner, and shows the scores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import typer

from waymark.agent.named_agents import name_of
from waymark.cli.evaluation_progress import LiveProgress
from waymark.cli.health_watch import HealthWatch
from waymark.cli.interrupts import run_async
from waymark.cli.local_stack import Stack, StackOptions
from waymark.cli.recover_results import check_written, count_written, kept_data_is_named
from waymark.clients.addresses import shown
from waymark.clients.services import EvaluationClient
from waymark.command_hints import command
from waymark.commands.console import (
    BAD_INPUT,
    CANNOT_START,
    DIED,
    INTERRUPTED,
    SOME_ERRORED,
    err,
    is_bad_input,
    out,
    tell,
    tell_error,
)
from waymark.contracts import EpisodeResult, EvaluationRequest, EvaluationStatus
from waymark.errors import ServiceError, ServiceRejected, StackError, WaymarkError
from waymark.evaluation import terminal_report
from waymark.evaluation.checkpoint_identity import check_results
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.json_report import evaluation_json
from waymark.evaluation.run_folder import RunFolder
from waymark.evaluation.scores import summarise, world_played

_WATCH_SECONDS = 0.3
_RESUME_SECONDS = 600.0


@dataclass
class Played:
    """An accepted evaluation, as far as this process knows it."""

    status: EvaluationStatus
    results: dict[str, EpisodeResult] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every episode was played to its end."""
        return len(self.results) == self.status.episodes and not any(result.error for result in self.results.values())

    def folder(self, runs: Path) -> Path:
        """The folder of its results."""
        return runs / self.status.id

    def outcome(self) -> Run:
        """Its results so far."""
        return Run(self.status.id, self.status.request, self.status.versions, list(self.results.values()))


Begin = Callable[[list[Played], EvaluationClient], Awaitable[None]]
"""A function that submits evaluations and records each one as soon as it is accepted."""


def play_to_the_end(played: list[Played], begin: Begin, options: StackOptions, url: str | None, *, json: bool) -> None:
    """Play evaluations on a stack of its own, or on the env-runner at `url`, and show their scores.

    Raises typer.Exit if they are not all complete, WaymarkError.
    """
    runs = options.runs
    unwritable: WaymarkError | None = None
    with LiveProgress(err) as progress:
        if url is not None:
            unwritable = run_async(_play(played, begin, url, progress, None, runs))
        else:
            progress.say("starting the services")
            with kept_data_is_named(Stack(options), partial(tell, style="bold red")) as stack:
                run_async(_play(played, begin, stack.url("env-runner"), progress, stack, runs))
                progress.say("stopping the services")
            check_written({run.folder(runs): len(run.results) for run in played})
    show([run.outcome() for run in played], json=json)
    if unwritable is not None:
        raise unwritable
    if url is None:
        for run in played:
            folder = run.folder(runs)
            tell(
                f"Every turn is in {folder}; `{command('report', folder)}` shows its scores again, "
                f"`{command('view', folder)}` its episodes in the browser."
            )
    if not all(run.complete for run in played):
        raise typer.Exit(SOME_ERRORED)


def show(runs: Sequence[Run], *, json: bool) -> None:
    """Print one run's scores with the published ones, or a comparison of several runs."""
    for run in runs:
        if run.versions is not None:
            check_results(run.id, run.versions, run.results)
    documents = [evaluation_json(run.id, run.request, run.versions, run.results) for run in runs] if json else []
    if len(runs) > 1:
        comparison = compare(runs)
        if json:
            out.print_document({"evaluations": documents, "comparison": comparison.model_dump(mode="json")})
        else:
            out.print(terminal_report.render_comparison(comparison))
    elif json:
        out.print_document(documents[0])
    else:
        summary = summarise(runs[0].results, world_played(runs[0].versions))
        out.print(terminal_report.render(summary, runs[0].request, runs[0].versions))


async def submit(requests: Sequence[EvaluationRequest], played: list[Played], client: EvaluationClient) -> None:
    """Submit all or none: if one is refused, those before it are cancelled."""
    try:
        for request in requests:
            status = await client.submit(request)
            played.append(Played(status))
    except ServiceRejected:
        while played:
            await client.cancel(played.pop().status.id)
        raise


async def resume_all(names: Sequence[str], errored: bool, played: list[Played], client: EvaluationClient) -> None:
    """Resume evaluations. One that Redis does not know is first read from its folder, which may take a while."""
    async with EvaluationClient(client.base_url, timeout=_RESUME_SECONDS) as patient:
        for name in names:
            played.append(Played(await patient.resume(name, errored=errored)))  # noqa: PERF401 - noted as soon as it is


@contextmanager
def errors_reported(played: Sequence[Played] = (), runs: Path = Path(), url: str | None = None) -> Iterator[None]:
    """Convert an error or an interruption to one message, the place of the finished episodes, and an exit code."""
    try:
        yield
    except WaymarkError as error:
        tell_error(error)
        begun = _tell_finished(played, runs, url)
        if begun and isinstance(error, StackError):
            raise typer.Exit(DIED) from error
        raise typer.Exit(BAD_INPUT if is_bad_input(error) else DIED if begun else CANNOT_START) from error
    except KeyboardInterrupt as interrupt:
        tell("Interrupted.", style="bold red")
        _tell_finished(played, runs, url)
        raise typer.Exit(INTERRUPTED) from interrupt


async def _play(
    played: list[Played],
    begin: Begin,
    url: str,
    progress: LiveProgress,
    stack: Stack | None,
    runs: Path,
) -> WaymarkError | None:
    """Begin evaluations and follow them to their ends, recording them in `played`; the stack's logs go to the first
    one's folder.

    Returns what keeps some of their results from being written at the end. Raises the first error; for a dead service
    an error with its name.
    """
    async with EvaluationClient(url) as client:
        await begin(played, client)
        if stack is not None:
            stack.keep_logs(played[0].folder(runs))
        for run in played:
            tell(f"Watch it at {shown(url)}/#/evaluations/{run.status.id}")
        progress.begin(sum(run.status.episodes for run in played))
        following = asyncio.create_task(_follow_all(played, client, progress))
        health = HealthWatch(url, lambda: [run.status for run in played], tell)
        try:
            while not following.done():
                await asyncio.wait({following}, timeout=_WATCH_SECONDS)
                if stack is not None:
                    stack.check()
                unwritable = await health.look()
                if stack is not None and unwritable is not None:
                    raise unwritable
            following.result()
            return await health.unwritten()
        except ServiceError:
            await asyncio.sleep(_WATCH_SECONDS)  # a service that died is reaped by now, and can be named
            if stack is not None:
                stack.check()
            raise
        finally:
            following.cancel()


async def _follow_all(played: Sequence[Played], client: EvaluationClient, progress: LiveProgress) -> None:
    names = [name_of(run.status.request.agent) if len(played) > 1 else "" for run in played]
    await asyncio.gather(*(_follow(run, client, progress, name) for run, name in zip(played, names, strict=True)))


async def _follow(run: Played, client: EvaluationClient, progress: LiveProgress, name: str) -> None:
    async for event in client.events(run.status.id):
        if isinstance(event, EvaluationStatus):
            if event.waiting != run.status.waiting:
                progress.waiting(event.waiting)
            run.status = event
        else:
            run.results[event.id] = event
            progress.finished(event, name)


def _tell_finished(played: Sequence[Played], runs: Path, url: str | None) -> bool:
    """Print the state of evaluations that did not end normally; False if none was accepted."""
    for run in played:
        if url is None:
            folder = RunFolder(run.folder(runs))
            count = count_written(folder)
            if count is None:
                tell(f"{folder.path} holds no results that can be read.")
                continue
            tell(
                f"{count} of {run.status.episodes} episodes are finished, in {folder.path}; "
                f"`{command('report', folder.path)}` shows them, `{command('resume', folder.path)}` plays the rest."
            )
        elif len(run.results) < run.status.episodes:
            evaluation = f"{shown(url)}/v1/evaluations/{run.status.id}"
            tell(f"The evaluation continues: see {evaluation}, or end it with POST {evaluation}/cancel")
    return bool(played)
