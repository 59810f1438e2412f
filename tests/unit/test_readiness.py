"""A stack that does not become ready says what its services say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from waymark.child_processes.child_process import Part, wait_until_ready
from waymark.child_processes.readiness import Readiness, is_ready
from waymark.contracts import Problem
from waymark.errors import StackError


class Answer(BaseHTTPRequestHandler):
    """Says what its server has to say."""

    def do_GET(self) -> None:
        answer: bytes = self.server.answer  # type: ignore[attr-defined]
        self.send_response(503 if answer else 200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def says(server: HTTPServer, kind: str, detail: str) -> str:
    problem = Problem(type=f"urn:waymark:{kind}", title="x", status=503, detail=detail, request_id="1")
    server.answer = problem.model_dump_json().encode()  # type: ignore[attr-defined]
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part("env-runner", ["sleep", "60"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    yield part
    part.stop()


def test_a_services_problem_is_reported_when_time_is_over(server: HTTPServer, part: Part) -> None:
    ready = Readiness(says(server, "job-store-unavailable", "Redis is loading its data."))
    with pytest.raises(StackError, match=r"not ready within 0 s: Redis is loading its data\."):
        wait_until_ready([part], ready, "env-runner", seconds=0.3)


def test_a_full_disk_of_redis_ends_the_start_at_once(server: HTTPServer, part: Part) -> None:
    url = says(server, "job-store-full", "Redis cannot write to its disk. Free space.")
    with pytest.raises(StackError, match="Free space"):
        wait_until_ready([part], Readiness(url), "env-runner", seconds=60)
    assert not is_ready(url)


@pytest.mark.parametrize("answer", [b"[" * 100_000, b"not ready", b"{}"])
def test_answers_that_are_no_problem_document_are_ignored(server: HTTPServer, answer: bytes) -> None:
    server.answer = answer  # type: ignore[attr-defined]
    ready = Readiness(f"http://127.0.0.1:{server.server_port}")
    assert not ready()
    assert not ready.problem
