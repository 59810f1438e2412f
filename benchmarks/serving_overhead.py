"""What HTTP, batching and contracts cost on top of the engine: throughput under load, latency at idle.

    python -m benchmarks.serving_overhead [--seconds 10] [--rounds 3] [--threads 0] [--json FILE]

Both sides answer the same recorded states with the same checkpoint, threads and batch limits, in turn, so that a busy
machine troubles both. The engine gets rendered prompts, 64 at a time, and tokenises each once. They are cut into
batches in their order, as the service does it. The service gets the states over HTTP from 64 callers. At idle one
caller asks for one state after the other, and the engine answers each prompt alone.

Targets: at least 0.9 of the engine's throughput, at most 3 ms added to its median latency.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks import callers
from benchmarks.services import machine, running
from waymark.agent.prompt import write_prompt
from waymark.inference import Encoded, Generator, checkpoint
from waymark.inference.open_engine import open_generator
from waymark.serving.settings import ServiceSettings
from waymark.worlds.registry import get_format

CONCURRENCY = 64
THROUGHPUT_TARGET = 0.9
ADDED_MS_TARGET = 3.0
_FOLDER = Path("checkpoints/executor")


class Report(BaseModel):
    """What was measured; throughput in requests a second, latency in milliseconds, medians of the rounds."""

    machine: str
    engine: str
    threads: int
    seconds: float
    rounds: int
    engine_throughput: float
    service_throughput: float
    throughput_ratio: float
    """Median of the rounds' ratios."""
    engine_ms: float
    service_ms: float
    added_ms: float


def batches(prompts: Sequence[str], generator: Generator, settings: ServiceSettings) -> Iterator[list[Encoded]]:
    """Prompts in their order, tokenised, and cut at the service's limits."""
    batch: list[Encoded] = []
    longest = 0
    for encoded in generator.encode(prompts):
        longest = max(longest, len(encoded.ids))
        over = len(batch) == settings.max_batch or longest * (len(batch) + 1) > settings.max_batch_tokens
        if batch and over:
            yield batch
            batch, longest = [], len(encoded.ids)
        batch.append(encoded)
    yield batch


def engine_throughput(generator: Generator, prompts: Sequence[str], settings: ServiceSettings, seconds: float) -> float:
    """Requests a second of the engine alone, tokenising included."""
    source = cycle(prompts)
    answered = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for batch in batches(list(islice(source, CONCURRENCY)), generator, settings):
            answered += len(generator.generate(batch))
    return answered / (time.perf_counter() - began)


def engine_latency(generator: Generator, prompts: Sequence[str]) -> list[float]:
    """Milliseconds of each prompt alone."""
    times = []
    for prompt in prompts:
        began = time.perf_counter()
        generator.generate([prompt])
        times.append((time.perf_counter() - began) * 1000)
    return times


def service_side(url: str, requests: Sequence[bytes], callers_at_once: int, seconds: float) -> callers.Measured:
    """One closed loop against the service."""
    measured, _ = uvloop.run(callers.ask(url, requests, callers_at_once, seconds))
    if measured.refused:
        raise SystemExit(f"Not every request was answered: {dict(measured.refused)}")
    return measured


def measure(seconds: float, rounds: int, threads: int, log: Path) -> Report:
    """Both sides in turn."""
    settings = ServiceSettings()
    executor = checkpoint.load(_FOLDER, "executor")
    prompt_format = get_format(executor.card.prompt_format)
    prompts = [write_prompt(prompt_format, "executor", state) for state in callers.states()]
    generator = open_generator("ctranslate2", executor, threads=threads)
    engine_latency(generator, prompts[:20])
    engine, service, engine_times, service_times = [], [], [], []
    with running("services.executor", {"THREADS": str(threads)}, log) as process:
        url, requests = f"{process.url}/v1/action", callers.bodies()
        service_side(url, requests, CONCURRENCY, min(2.0, seconds))  # warm
        for _ in range(rounds):
            engine.append(engine_throughput(generator, prompts, settings, seconds))
            service.append(service_side(url, requests, CONCURRENCY, seconds).throughput)
            engine_times.append(statistics.median(engine_latency(generator, prompts)))
            service_times.append(service_side(url, requests, 1, seconds).p50)
    return Report(
        machine=machine(),
        engine=f"{generator.engine} {generator.dtype}",
        threads=threads,
        seconds=seconds,
        rounds=rounds,
        engine_throughput=statistics.median(engine),
        service_throughput=statistics.median(service),
        throughput_ratio=statistics.median(ours / theirs for ours, theirs in zip(service, engine, strict=True)),
        engine_ms=statistics.median(engine_times),
        service_ms=statistics.median(service_times),
        added_ms=statistics.median(ours - theirs for ours, theirs in zip(service_times, engine_times, strict=True)),
    )


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of each measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Number of measurements of both sides.")] = 3,
    threads: Annotated[int, typer.Option(help="Threads of the engine on both sides; 0: all cores.")] = 0,
    json: Annotated[Path | None, typer.Option(help="File for the report, in JSON.")] = None,
) -> None:
    """Measure and print both sides, then the ratio."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(seconds, rounds, threads, Path(scratch) / "executor.log")
    table = Table("", "engine", "service", "", "target", title=f"{report.machine}; {report.engine}")
    table.add_row(
        f"requests/s, {CONCURRENCY} at once",
        f"{report.engine_throughput:.0f}",
        f"{report.service_throughput:.0f}",
        f"ratio {report.throughput_ratio:.2f}",
        f">= {THROUGHPUT_TARGET}",
    )
    table.add_row(
        "median ms, one at a time",
        f"{report.engine_ms:.2f}",
        f"{report.service_ms:.2f}",
        f"added {report.added_ms:.2f}",
        f"<= {ADDED_MS_TARGET}",
    )
    console.print(table)
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))


if __name__ == "__main__":
    typer.run(main)
