"""The executor beside LitServe: the same checkpoint, renderer and engine behind another server.

    python -m benchmarks.peers [--seconds 10] [--rounds 3] [--environment build/peers]

LitServe 0.2.19 does not import beside mcp 2, so the command makes an environment for it, with the versions of the
engine and of pydantic that are installed here, and keeps it for the next time. Both sides answer the same recorded
states, from 64 callers and from one, in turn. Goals: 1.5 times LitServe's throughput at 64 callers, less than half of
its latency at one. The ratios stand last.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import httpx
import typer
import uvloop
from rich.console import Console

from benchmarks import callers
from benchmarks.machine import figures
from benchmarks.services import machine, running
from waymark.child_processes.child_process import HOST
from waymark.cli.local_stack import free_ports

LITSERVE = "litserve==0.2.19"
MANY = 64
THROUGHPUT_TARGET, LATENCY_TARGET = 1.5, 0.5
_SAME = ("ctranslate2", "tokenizers", "pydantic", "numpy")
_START_SECONDS = 120


def environment(folder: Path) -> Path:
    """The interpreter of LitServe's environment, which is made if it is not there."""
    python = folder / "bin" / "python"
    if (folder / "made").is_file():
        return python
    pins = [LITSERVE, *(f"{name}=={version(name)}" for name in _SAME)]
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *pins], check=True)
    (folder / "made").touch()
    return python


@contextmanager
def litserve(python: Path, log: Path) -> Iterator[str]:
    """The URL of LitServe's executor while it runs."""
    port = free_ports()["executor"]
    url = f"http://{HOST}:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "benchmarks.peer_litserve", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        try:
            _wait(url, process, log)
            yield f"{url}/v1/action"
        finally:
            # Its workers outlive it, so the whole group is ended.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"LitServe did not start:\n{log.read_text(errors='replace')[-2_000:]}")


def main(
    seconds: Annotated[float, typer.Option(help="Seconds of each measurement.")] = 10.0,
    rounds: Annotated[int, typer.Option(help="Number of measurements of both sides.")] = 3,
    where: Annotated[Path, typer.Option("--environment", help="Folder of LitServe's own Python environment.")] = Path(
        "build/peers"
    ),
) -> None:
    """Measure and print both sides, then the ratios."""
    console = Console(highlight=False)
    requests = callers.bodies()
    python = environment(where.absolute())
    table = figures("", f"answers/s, {MANY} callers", "p99 ms", "median ms, one caller")
    many: list[float] = []
    ratios: list[float] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        running("services.executor", {}, Path(scratch) / "ours") as ours,
        litserve(python, Path(scratch) / "theirs") as theirs,
    ):
        sides = {"waymark": f"{ours.url}/v1/action", LITSERVE: theirs}
        for url in sides.values():
            uvloop.run(callers.ask(url, requests, MANY, min(2.0, seconds)))  # warm
        for _ in range(rounds):
            measured = {}
            for name, url in sides.items():
                busy, _ = uvloop.run(callers.ask(url, requests, MANY, seconds))
                idle, _ = uvloop.run(callers.ask(url, requests, 1, seconds / 2))
                if busy.refused or idle.refused:
                    raise SystemExit(f"{name} did not answer everything: {dict(busy.refused + idle.refused)}")
                measured[name] = (busy.throughput, idle.p50)
                table.add_row(name, f"{busy.throughput:.0f}", f"{busy.p99:.0f}", f"{idle.p50:.2f}")
            (our_rate, our_ms), (their_rate, their_ms) = measured.values()
            many.append(our_rate / their_rate)
            ratios.append(our_ms / their_ms)
    console.print(machine())
    console.print(table)
    console.print(f"latency, one caller: {statistics.median(ratios):.2f} of LitServe's (goal < {LATENCY_TARGET:g})")
    console.print(
        f"throughput, {MANY} callers: {statistics.median(many):.2f} times LitServe's (goal {THROUGHPUT_TARGET:g})"
    )


if __name__ == "__main__":
    typer.run(main)
