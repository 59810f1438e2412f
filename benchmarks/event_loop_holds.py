"""How long a single request keeps a service from answering others.

    python -m benchmarks.event_loop_holds [--only env-runner] [--turns 20000]

Starts the stack with the shipped checkpoints. For each service it sends the largest requests that are admitted, and
some that are refused, one after the other. Meanwhile a second connection asks `/health/live`, which is answered on the
event loop, about a thousand times a second. The longest of those answers is how long the request held the event loop.
Target: 50 ms. The first line of each service is that figure while nothing else is asked.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import typer
from rich.console import Console

from benchmarks.machine import describe, figures
from waymark.cli.local_stack import Stack, StackOptions, shipped_checkpoints
from waymark.clients.services import SyncEvaluationClient
from waymark.contracts import EpisodeResult, EvaluationRequest, Limits
from waymark.evaluation.run_folder import RunFolder

TARGET_MS: Final = 50.0
_PAUSE_SECONDS: Final = 0.001
_IDLE_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 0.3
"""After a request's answer, so that what it left behind counts, too."""
_TIMEOUT_SECONDS: Final = 120
_BODY_BYTES: Final = 4_000_000
_LONG: Final = "long-episode"
_PROBE: Final = b"GET /health/live HTTP/1.1\r\nHost: %b\r\n\r\n"


class Prober:
    """Asks `/health/live` again and again, in a process of its own."""

    def __init__(self, url: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._longest = spawn.Value("d", 0.0)
        self._process = spawn.Process(target=_probe, args=(url, self._longest), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        while not self._longest.value:
            time.sleep(_PAUSE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def restart(self) -> None:
        """Forget the answers so far."""
        self._longest.value = 0.0

    @property
    def longest_ms(self) -> float:
        """Time of the longest answer. Raises ConnectionError when there are no answers any more."""
        if not self._process.is_alive():
            raise ConnectionError("/health/live did not answer with 200.")
        return float(self._longest.value)


def _probe(url: str, longest: Synchronized[float]) -> None:
    address = urlsplit(url)
    request = _PROBE % address.netloc.encode()
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=_TIMEOUT_SECONDS) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            began = time.perf_counter()
            wire.sendall(request)
            if not wire.recv(65_536).startswith(b"HTTP/1.1 200"):
                return
            with longest.get_lock():
                longest.value = max(longest.value, (time.perf_counter() - began) * 1000)
            time.sleep(_PAUSE_SECONDS)


@dataclass(frozen=True)
class Request:
    """One request."""

    name: str
    path: str
    body: bytes | None = None
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


def send(url: str, request: Request) -> str:
    """The status of its answer, which is read to the end, or how the connection ended."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(
            request.method, request.path, request.body, {"Content-Type": "application/json", **request.headers}
        )
        answer = connection.getresponse()
        while answer.read(1_000_000):
            pass
        return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def filled(text: str, characters: int) -> str:
    """A text over and over, of that length."""
    return (text * (characters // len(text) + 1))[:characters]


def state(text: str, turns: int) -> dict[str, Any]:
    """A state of the largest size that is admitted, of this text, with that many turns."""
    characters = min(20_000, (_BODY_BYTES - 700_000) // max(1, turns) - 100)
    return {
        "task": filled(text, 4_000),
        "look": filled(text, 20_000),
        "inventory": filled(text, 20_000),
        "observation": filled(text, 20_000),
        "step": turns + 1,
        "turns": [
            {"action": f"look at box {number}", "observation": filled(text, characters)} for number in range(turns)
        ],
        "visited_rooms": [filled(text, 500)] * 60,
        "current_subgoal": filled(text, 500),
    }


def body(document: Any) -> bytes:
    """As it is sent."""
    return json.dumps(document).encode()


def decisions(route: str) -> Iterator[Request]:
    """What is sent to a controller or an executor; `route` is that of one decision."""
    for text in ("1.0 degrees celsius ", "1", "In it, you see: \n\ta tin (containing a tin), "):
        for turns in (0, 150, 1_000):
            document = {"state": state(text, turns)}
            yield Request(f"state of {text[:12].strip()!r}, {turns:,} turns", route, body(document))
    small = {"state": state("a tin cup, ", 0)}
    yield Request("list of 64 large states", f"{route}s", body([{"state": state("1 ", 2)}] * 64))
    yield Request("list of 2 million zeros", f"{route}s", b"[" + b"0," * 1_999_000 + b"0]")
    yield Request("2 million opened lists", route, b"[" * 2_000_000)
    yield Request("an object of 250,000 names", route, body({str(number): 0 for number in range(250_000)}))
    yield Request("one text of 3.9 MB", route, body({"state": "x" * 3_900_000}))
    yield Request("an escaped text of 3.9 MB", route, b'{"state":"' + b"\\u0041" * 640_000 + b'"}')
    yield Request("16 alternatives", route, body({**small, "n": 16}))
    yield Request("completion of a word of 1 MB", "/v1/completions", body({"prompt": "x" * 1_000_000}))
    yield Request("completion of words, 1 MB", "/v1/completions", body({"prompt": "go to the kitchen " * 55_000}))
    yield Request("head of 16 MB", route, b"{}", headers={"X-Large": "x" * 16_000_000})
    yield Request("100,000 headers", route, b"{}", headers={f"X-{number}": "x" for number in range(100_000)})
    yield from documents()


def executor_requests() -> Iterator[Request]:
    """What is sent to an executor."""
    small = state("a tin cup, ", 0)
    for count, characters in ((256, 40), (256, 500), (60, 500)):
        actions = [f"{number} {filled('open the box ', characters - 4)}" for number in range(count)]
        yield Request(
            f"{count} valid actions of {characters} characters",
            "/v1/action",
            body({"state": small, "valid_actions": actions}),
        )
    yield from decisions("/v1/action")


def documents() -> Iterator[Request]:
    """What every service answers without a body."""
    for path in ("/openapi.json", "/metrics", "/info", "/docs"):
        yield Request(f"GET {path}", path, method="GET")


def runner_requests(evaluation: str, episode: str, turns: int) -> Iterator[Request]:
    """What is sent to an env-runner; the run folder of `evaluation` holds an episode of so many turns."""
    submit = "/v1/evaluations"
    yield Request("options of 400 kB", submit, body({"tasks": ["4-2"], "options": "x" * 400_000}))
    yield Request("list of 2 million zeros", submit, b"[" + b"0," * 1_999_000 + b"0]")
    yield Request("2 million opened lists", submit, b"[" * 2_000_000)
    yield Request("250,000 tasks", submit, body({"tasks": [str(number) for number in range(250_000)]}))
    yield Request("250,000 variations", submit, body({"tasks": ["4-2"], "variations": list(range(250_000))}))
    yield Request("notes of 3.9 MB", f"/v1/runs/{evaluation}/notes", body({"notes": "x" * 3_900_000}), method="PUT")
    yield Request("head of 16 MB", submit, b"{}", headers={"X-Large": "x" * 16_000_000})
    for name, path in {
        "list of evaluations": "/v1/evaluations?limit=500",
        "list of runs": "/v1/runs",
        "all results": f"/v1/evaluations/{evaluation}/results",
        "its summary": f"/v1/evaluations/{evaluation}/summary",
        "its failures": f"/v1/evaluations/{evaluation}/failures",
        "its export, JSON lines": f"/v1/evaluations/{evaluation}/export?format=jsonl",
        "its export, Parquet": f"/v1/evaluations/{evaluation}/export?format=parquet",
        f"episode of {turns:,} turns": f"/v1/evaluations/{evaluation}/episodes/{episode}",
        "its last turn explained": f"/v1/evaluations/{evaluation}/episodes/{episode}/turns/{turns}",
        "the same episode elsewhere": f"/v1/evaluations/{evaluation}/episodes/{episode}/elsewhere",
    }.items():
        yield Request(name, path, method="GET")
    yield from documents()


def write_long_run(runs: Path, url: str, turns: int) -> tuple[str, str]:
    """Play an evaluation, and write a run folder with its episodes, the first of them `turns` long. Names of run and
    episode.
    """
    with SyncEvaluationClient(url) as asking:
        request = EvaluationRequest(tasks=("4-2",), limits=Limits(moves=100, turns=100))
        played = asking.submit(request).id
        while asking.status(played).state != "finished":
            time.sleep(0.5)
    source = RunFolder(runs / played)
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not (results := list(source.results())) and time.monotonic() < deadline:
        time.sleep(0.5)
    folder = RunFolder(runs / _LONG)
    folder.begin(source.evaluation().model_copy(update={"id": _LONG}))
    for number, result in enumerate(results):
        folder.append(lengthened(result, turns if number == 0 else len(result.trajectory)))
    return _LONG, results[0].id


def lengthened(result: EpisodeResult, turns: int) -> EpisodeResult:
    """The episode with its turns over and over, `turns` in all."""
    played = result.trajectory
    return result.model_copy(
        update={
            "evaluation": _LONG,
            "turns": turns,
            "trajectory": tuple(
                played[number % len(played)].model_copy(update={"turn": number + 1}) for number in range(turns)
            ),
        }
    )


@contextmanager
def services(turns: int) -> Iterator[dict[str, tuple[str, Sequence[Request]]]]:
    """URL and requests of each service of a running stack."""
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) / "runs"
        with Stack(StackOptions(runs=runs, checkpoints=shipped_checkpoints("scienceworld"), slots=1)) as stack:
            evaluation, episode = write_long_run(runs, stack.url("env-runner"), turns)
            yield {
                "controller": (stack.url("controller"), list(decisions("/v1/subgoal"))),
                "executor": (stack.url("executor"), list(executor_requests())),
                "env-runner": (stack.url("env-runner"), list(runner_requests(evaluation, episode, turns))),
            }


def main(
    only: Annotated[str | None, typer.Option(help="Ask only this service.")] = None,
    turns: Annotated[int, typer.Option(help="Turns of the long episode.", min=1, max=20_000)] = 20_000,
) -> None:
    """Measure and print, the longest hold of each service last."""
    console = Console(highlight=False)
    longest: dict[str, float] = {}
    with services(turns) as asked:
        for service, (url, requests) in asked.items():
            if only not in (None, service):
                continue
            table = figures(service, "status", "seconds", "held the event loop, ms")
            with Prober(url) as prober:
                prober.restart()
                time.sleep(_IDLE_SECONDS)
                table.add_row("nothing", "", f"{_IDLE_SECONDS:.2f}", f"{prober.longest_ms:.1f}")
                longest[service] = 0.0
                for request in requests:
                    prober.restart()
                    began = time.perf_counter()
                    status = send(url, request)
                    seconds = time.perf_counter() - began
                    time.sleep(_SETTLE_SECONDS)
                    table.add_row(request.name, status, f"{seconds:.2f}", f"{prober.longest_ms:.1f}")
                    longest[service] = max(longest[service], prober.longest_ms)
            console.print(table)
    console.print(describe("uvicorn").line(), soft_wrap=True)
    for service, held in longest.items():
        console.print(f"{service}: {held:.0f} ms at most, {held / TARGET_MS:.2f} of the target of {TARGET_MS:g} ms")
    raise typer.Exit(0 if max(longest.values(), default=0.0) <= TARGET_MS else 1)


if __name__ == "__main__":
    typer.run(main)
