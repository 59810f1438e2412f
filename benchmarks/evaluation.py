"""How many episodes an hour an evaluation plays: against the published loop, and with two workers against one.

    python -m benchmarks.evaluation [--tasks 30] [--protocol quick] [--rounds 2] [--slots N] [--json FILE]
    python -m benchmarks.evaluation --workers [--pause SECONDS]

Both sides play the same variations with the shipped checkpoints under the limits of protocol `seed`, in turn: the first
test variation of each of the 30 task types, or of fewer, evenly taken from them; with `--protocol dev` or `seed` five
or ten of each, as long as the evaluations that people run. The published loop is one process:
`ScienceWorldEnv.step`, transformers in float32 with a beam of five, one prompt at a time, both models at every step
(`benchmarks.published`). The other side is what `waymark evaluate` starts and asks: Redis, the services, a worker with
its simulators. Starting is not counted on either side, nor is an episode that each simulator plays before; simulators
get faster for a minute or two as Java compiles them, so the first round is slower than the next on either side. The
sides are different agents with the same weights and end their episodes at different moments, so turns a second stand
beside episodes an hour; and CPU time, of all processes of a side, which other work on the machine disturbs least.

`--workers` starts the stack with a worker of one simulator, then a second such worker, and compares the two. Where
the cores do not suffice for that, `--pause` takes the scripted world and models without weights instead, and a step
waits so long without computing, as if each worker's simulator had a machine of its own. Targets: 10 times the published
loop's episodes an hour; two workers at least 1.7 times one where there are cores for both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress

from benchmarks.machine import Machine, describe, figures
from waymark.child_processes.child_process import Part
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.local_stack import CHECKPOINTS, Stack, StackOptions
from waymark.clients.services import EvaluationClient
from waymark.contracts import AgentConfig, EpisodeResult, EvaluationRequest
from waymark.evaluation.requested_episodes import episodes, limits_of, pinned
from waymark.operating_system.cpu_cores import simulators_at_once
from waymark.operating_system.process_tree import children, cpu_seconds
from waymark.worlds.base import TaskType
from waymark.worlds.registry import DEFAULT_WORLD, get_world

if TYPE_CHECKING:  # it needs torch, which the other comparison does not
    from benchmarks.published import PublishedLoop

TASKS = get_world(DEFAULT_WORLD).tasks
LIMITS = limits_of(get_world(DEFAULT_WORLD).protocols["seed"], AgentConfig())
PUBLISHED_TARGET, WORKERS_TARGET = 10.0, 1.7
_LIBRARIES = ("ctranslate2", "torch", "transformers", "scienceworld")
OURS = "waymark evaluate"
Protocol = Literal["quick", "dev", "seed"]


class Played(BaseModel):
    """What one side played in one round."""

    side: str
    episodes: int
    turns: int
    seconds: float
    mean_score: float
    errored: int
    cpu_seconds: float
    """Of all of the side's processes."""

    @property
    def an_hour(self) -> float:
        """Episodes an hour."""
        return 3_600 * self.episodes / self.seconds


class Report(BaseModel):
    """What was measured."""

    machine: Machine
    baseline: str
    side: str
    played: list[Played]
    ratio: float
    """Of episodes an hour, median of the rounds."""
    turns_ratio: float
    """Of turns a second, likewise."""
    cpu_ratio: float
    """Of episodes a second of CPU time, likewise."""
    target: float


def tasks(count: int) -> list[TaskType]:
    """So many tasks, evenly taken from all topics."""
    return [TASKS[place * len(TASKS) // count] for place in range(count)]


def asked(chosen: Sequence[TaskType], protocol: Protocol) -> EvaluationRequest:
    """An evaluation of a protocol's variations of these tasks."""
    request = EvaluationRequest(protocol=protocol, tasks=tuple(task.id for task in chosen), limits=LIMITS)
    return pinned(request, get_world(DEFAULT_WORLD))


def play_published(loop: PublishedLoop, request: EvaluationRequest) -> Played:
    """The episodes of an evaluation in the published loop, in the same order."""
    pids = [os.getpid(), loop.simulator]
    computed, began = cpu_seconds(pids), time.perf_counter()
    played = [loop.play(episode.task, episode.variation) for episode in episodes("published", request)]
    return Played(
        side="published loop",
        episodes=len(played),
        turns=sum(len(turns) for turns in played),
        seconds=time.perf_counter() - began,
        mean_score=statistics.fmean(max(0, turns[-1].score) for turns in played),
        errored=0,
        cpu_seconds=cpu_seconds(pids) - computed,
    )


def evaluate(side: str, stack: Stack, request: EvaluationRequest, *workers: Part) -> Played:
    """The same as an evaluation of a running stack, from its submission to its last result.

    `workers` are those that the stack has not started itself.
    """
    parts = [*stack.pids.values(), *(worker.process.pid for worker in workers)]
    pids = [os.getpid(), *parts, *(simulator for part in parts for simulator in children(part))]
    computed, began = cpu_seconds(pids), time.perf_counter()
    results = asyncio.run(_results(stack.url("env-runner"), request))
    return Played(
        side=side,
        episodes=len(results),
        turns=sum(result.turns for result in results),
        seconds=time.perf_counter() - began,
        mean_score=statistics.fmean(result.score for result in results),
        errored=sum(result.error is not None for result in results),
        cpu_seconds=cpu_seconds(pids) - computed,
    )


async def _results(url: str, request: EvaluationRequest) -> list[EpisodeResult]:
    async with EvaluationClient(url) as client:
        status = await client.submit(request)
        return [event async for event in client.events(status.id) if isinstance(event, EpisodeResult)]


def against_published(
    request: EvaluationRequest, rounds: Iterable[int], scratch: Path, slots: int | None
) -> list[tuple[Played, Played]]:
    """Rounds of the published loop and the stack, in turn."""
    from benchmarks.published import PublishedLoop

    with Stack(StackOptions(runs=scratch, slots=slots)) as stack, chdir(scratch):
        loop = PublishedLoop(CHECKPOINTS / "controller", CHECKPOINTS / "executor", LIMITS)
        try:
            play_published(loop, asked(tasks(1), "quick"))
            evaluate(OURS, stack, asked(tasks(slots or simulators_at_once()), "quick"))
            return [(play_published(loop, request), evaluate(OURS, stack, request)) for _ in rounds]
        finally:
            loop.close()


def one_against_two(
    request: EvaluationRequest, rounds: Iterable[int], scratch: Path, pause: float | None
) -> list[tuple[Played, Played]]:
    """Rounds of one worker with one simulator and of two such, in turn."""
    rounds_played = []
    options = StackOptions(runs=scratch, slots=0)
    if pause is not None:
        options = replace(options, engine="scripted", environment="scripted")
    with (
        EmbeddedRedis(scratch) as redis,
        _environment("WAYMARK_REDIS_URL", redis.url),
        Stack(options) as stack,
    ):
        for _ in rounds:
            with _worker(stack, scratch, pause) as first:
                evaluate("warm-up", stack, asked(tasks(1), "quick"), first)
                alone = evaluate("one worker", stack, request, first)
                with _worker(stack, scratch, pause) as second:
                    evaluate("warm-up", stack, asked(tasks(2), "quick"), first, second)
                    rounds_played.append((alone, evaluate("two workers", stack, request, first, second)))
    return rounds_played


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment for as long as the context lasts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def _worker(stack: Stack, scratch: Path, pause: float | None) -> Iterator[Part]:
    """A worker with one simulator, as `waymark worker` starts one on any machine, or one whose steps only wait."""
    settings = {
        **os.environ,
        "WAYMARK_RUNS": str(scratch),
        "WAYMARK_SLOTS": "1",
        "WAYMARK_CONTROLLER_URL": stack.url("controller"),
        "WAYMARK_EXECUTOR_URL": stack.url("executor"),
    }
    module = ["waymark", "worker"] if pause is None else ["benchmarks.waiting_worker", str(pause)]
    part = Part("worker", [sys.executable, "-m", *module], settings, scratch / "worker.log")
    try:
        yield part
        part.check()
    finally:
        part.stop()


def report(machine: Machine, rounds: Sequence[tuple[Played, Played]], target: float) -> Report:
    """Ratios of the rounds and their median."""
    return Report(
        machine=machine,
        baseline=rounds[0][0].side,
        side=rounds[0][1].side,
        played=[side_played for pair in rounds for side_played in pair],
        ratio=statistics.median(ours.an_hour / theirs.an_hour for theirs, ours in rounds),
        turns_ratio=statistics.median(
            (ours.turns / ours.seconds) / (theirs.turns / theirs.seconds) for theirs, ours in rounds
        ),
        cpu_ratio=statistics.median(
            (ours.episodes / ours.cpu_seconds) / (theirs.episodes / theirs.cpu_seconds) for theirs, ours in rounds
        ),
        target=target,
    )


def show(report: Report, console: Console) -> None:
    """Print the rounds and the ratio."""
    table = figures("", "episodes", "seconds", "episodes/h", "turns/s", "CPU s", "score", "errored")
    for played in report.played:
        table.add_row(
            played.side,
            str(played.episodes),
            f"{played.seconds:.1f}",
            f"{played.an_hour:.0f}",
            f"{played.turns / played.seconds:.1f}",
            f"{played.cpu_seconds:.1f}",
            f"{played.mean_score:.1f}",
            str(played.errored),
        )
    console.print(table)
    console.print(report.machine.line(), soft_wrap=True)
    console.print(f"ratio {report.turns_ratio:.1f} turns a second, {report.side} to {report.baseline}")
    console.print(f"ratio {report.cpu_ratio:.1f} episodes a second of CPU time, {report.side} to {report.baseline}")
    console.print(
        f"ratio {report.ratio:.2f} episodes an hour, {report.side} to {report.baseline} (target >= {report.target:g})"
    )


def main(
    task_types: Annotated[int, typer.Option("--tasks", help="Task types of a round.", min=1, max=len(TASKS))] = 30,
    protocol: Annotated[Protocol, typer.Option(help="Protocol that names the variations.")] = "quick",
    rounds: Annotated[int, typer.Option(help="Number of times that both sides play.", min=1)] = 2,
    slots: Annotated[int | None, typer.Option(help="Simulators of the stack. Default: 3 for every 2 cores.")] = None,
    workers: Annotated[bool, typer.Option("--workers", help="Compare two workers with one worker instead.")] = False,
    pause: Annotated[
        float | None, typer.Option(help="With --workers: seconds that a step waits; no models and simulators are used.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for the report, in JSON.")] = None,
) -> None:
    """Play on both sides and print the ratio."""
    machine = describe(*_LIBRARIES)
    console = Console(highlight=False)
    request = asked(tasks(task_types), protocol)
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        scratch, turns = Path(folder), progress.track(range(rounds), description="rounds")
        if workers:
            played = one_against_two(request, turns, scratch, pause)
        else:
            played = against_published(request, turns, scratch, slots)
    ratios = report(machine, played, WORKERS_TARGET if workers else PUBLISHED_TARGET)
    show(ratios, console)
    if json is not None:
        json.write_text(ratios.model_dump_json(indent=2))


if __name__ == "__main__":
    typer.run(main)
