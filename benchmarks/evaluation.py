"""How many episodes an hour an evaluation plays: against the published loop, and with two workers against one.

    python -m benchmarks.evaluation [--episodes 6] [--rounds 2] [--json FILE]
    python -m benchmarks.evaluation --workers [--episodes 12] [--rounds 2]

Both sides play the first test variations of some tasks with the shipped checkpoints under the limits of protocol
`seed`, in turn. The published loop is one process: `ScienceWorldEnv.step`, transformers in float32 with a beam of five,
one prompt at a time, both models at every step (`benchmarks.published`). The other side is what `waymark evaluate`
starts and asks: Redis, the services, a worker with a simulator a core. Starting is not counted on either side, nor is
an episode that each simulator plays before. The sides are different agents with the same weights and end their episodes
at different moments; so turns a second stand beside episodes an hour.

`--workers` starts the stack with a worker of one simulator, then a second such worker, and compares the two. Targets:
10 times the published loop's episodes an hour; two workers at least 1.7 times one where there are cores for both.
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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress

from benchmarks.machine import Machine, describe, figures
from waymark.client import EvaluationClient
from waymark.contracts import AgentConfig, EpisodeResult, EvaluationRequest
from waymark.process import available_cores
from waymark.protocols import PROTOCOLS
from waymark.stack import CHECKPOINTS, EmbeddedRedis, Part, Stack, StackOptions
from waymark.tasks import GROUPS, TASKS, TaskType

if TYPE_CHECKING:  # it needs torch, which the other comparison does not
    from benchmarks.published import PublishedLoop

LIMITS = PROTOCOLS["seed"].limits_of(AgentConfig())
PUBLISHED_TARGET, WORKERS_TARGET = 10.0, 1.7
_LIBRARIES = ("ctranslate2", "torch", "transformers", "scienceworld")
OURS = "waymark evaluate"


class Played(BaseModel):
    """What one side played in one round."""

    side: str
    episodes: int
    turns: int
    seconds: float
    mean_score: float
    errored: int

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
    target: float


def tasks(count: int) -> list[TaskType]:
    """So many tasks, those with short oracle paths first, which is kind to the side that takes longer for a turn."""
    return sorted(TASKS, key=lambda task: GROUPS.index(task.group))[:count]


def play_published(loop: PublishedLoop, chosen: Sequence[TaskType]) -> Played:
    """The first test variation of each task in the published loop."""
    began = time.perf_counter()
    played = [loop.play(task.id, task.split("test").start) for task in chosen]
    return Played(
        side="published loop",
        episodes=len(played),
        turns=sum(len(turns) for turns in played),
        seconds=time.perf_counter() - began,
        mean_score=statistics.fmean(max(0, turns[-1].score) for turns in played),
        errored=0,
    )


def evaluate(side: str, stack: Stack, chosen: Sequence[TaskType]) -> Played:
    """The same as an evaluation of a running stack, from its submission to its last result."""
    request = EvaluationRequest(protocol="quick", tasks=tuple(task.id for task in chosen), limits=LIMITS)
    began = time.perf_counter()
    results = asyncio.run(_results(stack.url("env-runner"), request))
    return Played(
        side=side,
        episodes=len(results),
        turns=sum(one.turns for one in results),
        seconds=time.perf_counter() - began,
        mean_score=statistics.fmean(one.score for one in results),
        errored=sum(one.error is not None for one in results),
    )


async def _results(url: str, request: EvaluationRequest) -> list[EpisodeResult]:
    async with EvaluationClient(url) as client:
        status = await client.submit(request)
        return [event async for event in client.events(status.id) if isinstance(event, EpisodeResult)]


def against_published(chosen: Sequence[TaskType], rounds: Iterable[int], scratch: Path) -> list[tuple[Played, Played]]:
    """Rounds of the published loop and the stack, in turn."""
    from benchmarks.published import PublishedLoop

    warm_up = tasks(available_cores())
    with Stack(StackOptions(runs=scratch)) as stack, chdir(scratch):
        loop = PublishedLoop(CHECKPOINTS / "controller", CHECKPOINTS / "executor", LIMITS)
        try:
            play_published(loop, warm_up[:1])
            evaluate(OURS, stack, warm_up)
            return [(play_published(loop, chosen), evaluate(OURS, stack, chosen)) for _ in rounds]
        finally:
            loop.close()


def one_against_two(chosen: Sequence[TaskType], rounds: Iterable[int], scratch: Path) -> list[tuple[Played, Played]]:
    """Rounds of one worker with one simulator and of two such, in turn."""
    found = []
    with (
        EmbeddedRedis(scratch) as redis,
        _environment("WAYMARK_REDIS_URL", redis.url),
        Stack(StackOptions(runs=scratch, slots=1)) as stack,
    ):
        evaluate("warm-up", stack, tasks(1))
        for _ in rounds:
            alone = evaluate("one worker", stack, chosen)
            with _second_worker(stack, scratch):
                evaluate("warm-up", stack, tasks(2))
                found.append((alone, evaluate("two workers", stack, chosen)))
    return found


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
def _second_worker(stack: Stack, scratch: Path) -> Iterator[None]:
    """Another worker with one simulator, as `waymark worker` starts one on any machine."""
    settings = {
        **os.environ,
        "WAYMARK_RUNS": str(scratch),
        "WAYMARK_SLOTS": "1",
        "WAYMARK_CONTROLLER_URL": stack.url("controller"),
        "WAYMARK_EXECUTOR_URL": stack.url("executor"),
    }
    part = Part("second worker", [sys.executable, "-m", "waymark", "worker"], settings, scratch / "worker-2.log")
    try:
        yield
        part.check()
    finally:
        part.stop()


def report(machine: Machine, rounds: Sequence[tuple[Played, Played]], target: float) -> Report:
    """Ratios of the rounds and their median."""
    return Report(
        machine=machine,
        baseline=rounds[0][0].side,
        side=rounds[0][1].side,
        played=[one for pair in rounds for one in pair],
        ratio=statistics.median(ours.an_hour / theirs.an_hour for theirs, ours in rounds),
        turns_ratio=statistics.median(
            (ours.turns / ours.seconds) / (theirs.turns / theirs.seconds) for theirs, ours in rounds
        ),
        target=target,
    )


def show(found: Report, console: Console) -> None:
    """Print the rounds and the ratio."""
    table = figures("", "episodes", "seconds", "episodes/h", "turns/s", "score", "errored")
    for one in found.played:
        table.add_row(
            one.side,
            str(one.episodes),
            f"{one.seconds:.1f}",
            f"{one.an_hour:.0f}",
            f"{one.turns / one.seconds:.1f}",
            f"{one.mean_score:.1f}",
            str(one.errored),
        )
    console.print(table)
    console.print(found.machine.line(), soft_wrap=True)
    console.print(f"ratio {found.turns_ratio:.1f} turns a second, {found.side} to {found.baseline}")
    console.print(
        f"ratio {found.ratio:.2f} episodes an hour, {found.side} to {found.baseline} (target >= {found.target:g})"
    )


def main(
    episodes: Annotated[int, typer.Option(help="Of a round, on each side.", min=1, max=len(TASKS))] = 6,
    rounds: Annotated[int, typer.Option(help="Times that both sides play.", min=1)] = 2,
    workers: Annotated[bool, typer.Option("--workers", help="Compare two workers with one instead.")] = False,
    json: Annotated[Path | None, typer.Option(help="Where to write the report.")] = None,
) -> None:
    """Play on both sides and print the ratio."""
    machine = describe(*_LIBRARIES)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch, Progress(console=console) as progress:
        measure = one_against_two if workers else against_published
        played = measure(tasks(episodes), progress.track(range(rounds), description="rounds"), Path(scratch))
    found = report(machine, played, WORKERS_TARGET if workers else PUBLISHED_TARGET)
    show(found, console)
    if json is not None:
        json.write_text(found.model_dump_json(indent=2))


if __name__ == "__main__":
    typer.run(main)
