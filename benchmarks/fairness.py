"""Ten light callers alone, and beside one heavy caller: does heavy work starve light work?

    python -m benchmarks.fairness [--seconds 10] [--rounds 3] [--heavy candidates|list|beams]

The light callers each ask for an action, again and again; the heavy one asks for the best of 256 valid actions, for a
list of 64 actions, or for 16 alternatives. All come from one address, so that only the cost of what they ask tells them
apart. Both sides are measured in turn against the executor that ships. Target: the 99th percentile of the light
callers' latency beside the heavy one is less than 3 times what it is alone.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop
from rich.console import Console

from benchmarks import callers
from benchmarks.machine import figures
from benchmarks.services import machine, running

LIGHT_CALLERS = 10
TARGET = 3.0
Heavy = Literal["candidates", "list", "beams"]
_CANDIDATES = 256
_LIST = 64


def heavy_requests(heavy: Heavy, light: list[bytes]) -> list[bytes]:
    """What the heavy caller sends."""
    if heavy == "list":
        return [b"[" + b",".join(light[:_LIST]) + b"]"]
    documents = [json.loads(body) for body in light[:8]]
    for document in documents:
        if heavy == "beams":
            document["n"] = 16
        else:
            document["valid_actions"] = [f"move thing {number} to large box {number}" for number in range(_CANDIDATES)]
    return [json.dumps(document).encode() for document in documents]


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of each measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Number of measurements of both sides.")] = 3,
    heavy: Annotated[Heavy, typer.Option(help="Kind of the heavy caller's requests.")] = "candidates",
) -> None:
    """Measure and print both sides, then the ratio."""
    console = Console(highlight=False)
    light = callers.bodies()
    table = figures("", "light p50 ms", "p99 ms", "answers/s", "heavy answers/s")
    ratios = []
    with tempfile.TemporaryDirectory() as scratch, running("services.executor", {}, Path(scratch) / "log") as service:
        url = f"{service.url}/v1/action"
        uvloop.run(callers.ask(url, light, LIGHT_CALLERS, min(2.0, seconds)))  # warm
        for _ in range(rounds):
            alone, _ = uvloop.run(callers.ask(url, light, LIGHT_CALLERS, seconds))
            beside, other = uvloop.run(_beside(service.url, light, heavy, seconds))
            for name, caller, more in (("alone", alone, ""), ("beside", beside, f"{other.throughput:.2f}")):
                table.add_row(name, f"{caller.p50:.1f}", f"{caller.p99:.1f}", f"{caller.throughput:.0f}", more)
                if caller.refused:
                    console.print(f"{name}: refused {dict(caller.refused)}")
            if other.refused:
                console.print(f"heavy: refused {dict(other.refused)}")
            ratios.append(beside.p99 / alone.p99)
    console.print(machine())
    console.print(table)
    console.print(f"p99 beside {heavy} / alone: {statistics.median(ratios):.2f} (target < {TARGET:g})")


async def _beside(base: str, light: list[bytes], heavy: Heavy, seconds: float) -> tuple[callers.Measured, ...]:
    requests = heavy_requests(heavy, light)
    if heavy != "list":
        return await callers.ask(f"{base}/v1/action", light, LIGHT_CALLERS, seconds, beside=requests)
    return await callers.ask(
        f"{base}/v1/action", light, LIGHT_CALLERS, seconds, beside=requests, beside_url=f"{base}/v1/actions"
    )


if __name__ == "__main__":
    typer.run(main)
