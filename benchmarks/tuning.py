"""What each part of the tuning is worth: the executor with it and without it, in turn.

    python -m benchmarks.tuning [--seconds 10] [--rounds 3] [--only niceness]

    niceness    native threads of the engine give way to Python's
    slices      Python's threads have time slices of 0.2 ms
    one-write   head and body of an answer are sent at once
    two-batches the engine gets a full batch before it has computed the last one
    own-cores   Python stays on one core, and the engine uses that core only while Python does not (off by default; here
                it is switched on)

Each part is switched alone. `load` is a closed loop of 64 callers, `overload` one of 512, whose refusals' 99th
percentile is given; `idle` one caller. The ratio of with to without stands last: above 1 the part pays.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from benchmarks import callers
from benchmarks.machine import figures
from benchmarks.services import machine, running
from benchmarks.tuned_executor import SWITCHES

LOAD, OVERLOAD, IDLE = 64, 512, 1


@dataclass
class Side:
    """What one setting of a part gave in each round."""

    throughput: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    overload: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


@contextmanager
def executor(part: str, log: Path, *, on: bool) -> Iterator[str]:
    """The URL of an executor with a part switched on or off."""
    settings: dict[str, str] = {}
    if part == "own-cores" and on:
        settings = {"OWN_CORES": "1"}
    off = "" if on or part == "own-cores" else part
    before = os.environ.get("BENCHMARK_OFF")
    os.environ["BENCHMARK_OFF"] = off
    try:
        with running("benchmarks.tuned_executor", settings, log) as service:
            yield f"{service.url}/v1/action"
    finally:
        if before is None:
            del os.environ["BENCHMARK_OFF"]
        else:
            os.environ["BENCHMARK_OFF"] = before


def measure(side: Side, url: str, requests: list[bytes], seconds: float) -> None:
    """One round of one side."""
    uvloop.run(callers.ask(url, requests, LOAD, min(2.0, seconds)))  # warm
    load, _ = uvloop.run(callers.ask(url, requests, LOAD, seconds))
    over, _ = uvloop.run(callers.ask(url, requests, OVERLOAD, seconds))
    idle, _ = uvloop.run(callers.ask(url, requests, IDLE, seconds / 2))
    side.throughput.append(load.throughput)
    side.p99.append(load.p99)
    side.overload.append(over.throughput)
    side.idle.append(idle.p50)


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of each measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Number of measurements of each part, on and off.")] = 3,
    only: Annotated[str | None, typer.Option(help="Measure only this part.")] = None,
) -> None:
    """Measure and print both sides of each part, then their ratio."""
    console = Console(highlight=False)
    parts = [part for part in (*SWITCHES, "own-cores") if only in (None, part)]
    if not parts:
        raise SystemExit(f"Unknown part {only!r}; known are {', '.join((*SWITCHES, 'cores'))}.")
    requests = callers.bodies()
    table = figures("", "answers/s", "p99 ms", "overload/s", "idle ms", "ratio")
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts:
            sides = {True: Side(), False: Side()}
            for _ in range(rounds):
                for on in (True, False):
                    with executor(part, Path(scratch) / "log", on=on) as url:
                        measure(sides[on], url, requests, seconds)
            ratio = statistics.median(
                with_it / without
                for with_it, without in zip(sides[True].throughput, sides[False].throughput, strict=True)
            )
            for on, side in sides.items():
                columns = (side.throughput, side.p99, side.overload, side.idle)
                table.add_row(
                    f"{part} {'on' if on else 'off'}",
                    *(f"{statistics.median(column):.1f}" for column in columns),
                    "" if on else f"{ratio:.3f}",
                )
            typer.echo(f"{part}: {ratio:.3f}", err=True)  # a later part that fails takes no figure with it
    console.print(machine())
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
