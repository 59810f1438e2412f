"""What a refusal costs the event loop: 429 for want of room, 413 for a request's cost.

    python -m benchmarks.refusals [--requests 2000]

The app runs in this process without a socket, so that the time of one request is the time that it holds the event loop.
The first line is what an answered request takes there, the others what refusals take; the ratio of each to the target
stands last. Target: less than 1 ms a refusal.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from rich.console import Console

from benchmarks.callers import bodies
from benchmarks.machine import figures
from benchmarks.services import machine
from waymark.inference import Generation, Prompt
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings

TARGET_MS = 1.0
_WARM = 50


class _Held(ScriptedGenerator):
    """Answers once it is let go."""

    def __init__(self) -> None:
        super().__init__(lambda _: [("look around", -1.0)])
        self.free = threading.Event()

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        self.free.wait()
        return super().generate(prompts, n=n)


async def request(app: FastAPI, body: bytes) -> int:
    """The status of one request for an action."""
    status = 0
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/action",
        "raw_path": b"/v1/action",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await app(scope, receive, send)
    return status


async def timed(app: FastAPI, body: bytes, expected: int, count: int) -> list[float]:
    """Milliseconds of each of some requests, one after the other."""
    times = []
    for number in range(count + _WARM):
        began = time.thread_time()
        status = await request(app, body)
        if number >= _WARM:
            times.append((time.thread_time() - began) * 1000)
        if status != expected:
            raise SystemExit(f"Expected {expected}, got {status}.")
    return times


async def measure(count: int) -> dict[str, list[float]]:
    """All sides."""
    light = bodies()[0]
    document = json.loads(light)
    costly = json.dumps({**document, "valid_actions": ["1" * 499 + str(n % 10) for n in range(256)]}).encode()
    held = _Held()
    settings = ServiceSettings(max_queue=1, max_request_tokens=20_000)
    app = create_app("executor", {"default": scripted_model("default", "executor", held)}, settings)
    async with app.router.lifespan_context(app):
        held.free.set()
        times_by_case = {"200, answered": await timed(app, light, 200, count)}
        times_by_case["413, 256 candidates of 500 characters"] = await timed(app, costly, 413, count)
        held.free.clear()
        waiting = []
        for _ in range(2):  # one in the model, one that waits
            waiting.append(asyncio.create_task(request(app, light)))
            await asyncio.sleep(0.2)
        times_by_case["429, no room"] = await timed(app, light, 429, count)
        times_by_case["429, no room, 4 MB"] = await timed(app, light + b" " * 3_900_000, 429, count)
        held.free.set()
        await asyncio.gather(*waiting)
    return times_by_case


def main(
    requests: Annotated[int, typer.Option(help="Requests of each kind.")] = 2_000,
) -> None:
    """Measure and print all sides, the ratio to the target last."""
    console = Console(highlight=False)
    table = figures("", "median ms", "p99 ms", "median / target")
    for name, times in asyncio.run(measure(requests)).items():
        median = statistics.median(times)
        table.add_row(
            name, f"{median:.3f}", f"{statistics.quantiles(times, n=100)[98]:.3f}", f"{median / TARGET_MS:.2f}"
        )
    console.print(f"{machine()}; target {TARGET_MS:g} ms")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
