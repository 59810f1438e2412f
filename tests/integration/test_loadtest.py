"""`waymark loadtest` as a process against servers with sockets: ours, and one that only speaks as OpenAI's does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from tests.commands import Command
from waymark.child_processes.child_process import HOST
from waymark.cli.local_stack import free_ports
from waymark.clients.services import ExecutorClient
from waymark.loadtest.load_report import LoadReport
from waymark.serving.http_server import bind

Waymark = Callable[..., Command]


@pytest.fixture(scope="module")
def executor() -> Iterator[str]:
    """The URL of an executor on the scripted engine."""
    port = free_ports()["executor"]
    settings = {"WAYMARK_ENGINE": "scripted", "WAYMARK_PORT": str(port), "WAYMARK_DIE_WITH_PARENT": "1"}

    async def answers() -> None:
        async with ExecutorClient(url, retry_seconds=60) as client:
            await client.info()

    url = f"http://{HOST}:{port}"
    with subprocess.Popen([sys.executable, "-m", "services.executor"], env={**os.environ, **settings}) as process:
        asyncio.run(answers())
        yield url
        process.terminate()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """An app on a free port; its URL."""
    bound = bind(HOST, 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    bound.listen()
    thread.start()
    yield f"http://{HOST}:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def stranger(requests: list[dict[str, Any]]) -> FastAPI:
    """A server of somebody else's: completions for those with a key; refuses each third, fails at each fifth."""
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "small", "object": "model"}]}

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer secret":
            return Response("Who are you?", 401)
        requests.append(await request.json())
        count = int(request.headers.get("x-request-id", "-1").rpartition("-")[2])
        return Response(status_code=429 if count % 3 == 0 else 500 if count % 5 == 0 else 200)

    return app


def test_a_waymark_service_is_recognised_and_answers_every_request(
    waymark: Waymark, executor: str, tmp_path: Path
) -> None:
    load = ("--rate", "200,400", "--requests", "40", "--plot", "curve.png", "--json")
    code, out, err = waymark("loadtest", executor, *load).wait()
    assert code == 0, err
    report = LoadReport.model_validate_json(out)
    assert (report.target.service, report.target.path, report.target.engine) == (
        "executor",
        "/v1/action",
        "scripted none",
    )
    assert [(stage.name, stage.sent, stage.answered) for stage in report.stages] == [
        ("200/s poisson", 40, 40),
        ("400/s poisson", 40, 40),
    ]
    assert (report.target.history_turns, report.short) == (40, 0)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "test.json").write_text(out)
    code, out, err = waymark("loadtest", "compare", "test.json", "test.json", "--json").wait()
    assert code == 0, err
    assert {change["ratio"] for load in json.loads(out).values() for change in load} <= {1.0, None}


def test_openai_compatible_servers_are_tested_and_their_failures_reported(waymark: Waymark) -> None:
    requests: list[dict[str, Any]] = []
    with serving(stranger(requests)) as url:
        code, out, err = waymark("loadtest", f"{url}/v1", "--requests", "30", "--key", "secret", "--json").wait()
        assert code == 1, err
        refused = waymark("loadtest", url, "--requests", "30")
        assert refused.wait()[0] == 2
    (stage,) = LoadReport.model_validate_json(out).stages
    assert (stage.sent, stage.answered, stage.refused, stage.errors) == (30, 16, {"429": 10}, {"500": 4})
    assert {request["model"] for request in requests} == {"small"}
    assert all(request["prompt"] for request in requests)


def test_ctrl_c_ends_a_test_with_its_measurements(waymark: Waymark) -> None:
    app = FastAPI()
    some_answered, interrupted = threading.Event(), threading.Event()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "small"}]}

    @app.post("/v1/completions")
    def completions(request: Request) -> Response:
        count = int(request.headers.get("x-request-id", "-1").rpartition("-")[2])
        if count > 20:
            some_answered.set()
            interrupted.wait()
        return Response()

    with serving(app) as url:
        command = waymark("loadtest", url, "--concurrency", "1", "--seconds", "3600", "--json")
        some_answered.wait()
        command.process.send_signal(signal.SIGINT)
        code, out, err = command.wait()
        interrupted.set()
    assert code == 130, err
    report = LoadReport.model_validate_json(out)
    assert report.interrupted
    assert [(stage.answered, stage.unanswered) for stage in report.stages] == [(21, 1)]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["http://127.0.0.1:1"], 3, "Nothing answers at http://127.0.0.1:1"),
        (["localhost"], 2, "is no address"),
        (["http://127.0.0.1:1", "--rate", "1", "--ramp"], 2, "Give one of --rate, --concurrency and --ramp."),
        (["http://127.0.0.1:1", "--rate", "fast"], 2, "--rate fast is no list"),
        (["http://127.0.0.1:1", "--plot", "curve.txt"], 2, "Name a .png or .svg file."),
        (["compare", "none.json", "none.json"], 2, "none.json cannot be read"),
    ],
)
def test_unmeasurable_targets_are_reported(waymark: Waymark, arguments: list[str], code: int, message: str) -> None:
    ended, _, err = waymark("loadtest", *arguments).wait()
    assert ended == code
    assert message in err
    assert "Traceback" not in err
