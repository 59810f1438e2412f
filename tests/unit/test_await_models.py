"""The service `evaluate` waits for controller and executor, and names the one that is late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.docker.await_models import await_ready, problem_of


class _Service(BaseHTTPRequestHandler):
    statuses: list[int]
    """Answers in turn; the last one again and again."""

    def do_GET(self) -> None:
        """One answer without a body."""
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "problem"), [(200, None), (404, None), (401, None), (503, "it answers 503")])
def test_only_errors_of_the_service_count(address: str, status: int, problem: str | None) -> None:
    _Service.statuses = [status]
    assert problem_of(address) == problem


@pytest.mark.parametrize("url", ["controller:8001", "http://no-such-host.invalid", "http://127.0.0.1:1"])
def test_an_address_without_a_service_is_a_problem(url: str) -> None:
    assert problem_of(url)


def test_a_service_that_starts_is_waited_for(address: str) -> None:
    _Service.statuses = [503, 200]
    lines: list[str] = []
    assert await_ready({"controller": address}, 30, lines.append)
    assert lines == [
        f"The controller at {address} is not ready (it answers 503). Start it, or correct WAYMARK_CONTROLLER_URL.\n"
    ]


def test_one_that_does_not_start_is_named_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        lines: list[str] = []
        assert not await_ready({"executor": url}, 1.5, lines.append)
    assert len(lines) == 1


def test_the_log_to_read_is_that_of_the_container() -> None:
    lines: list[str] = []
    assert not await_ready({"controller": "http://controller-gpu:1"}, 0, lines.append)
    assert lines[0].endswith("Its log says why: docker compose logs controller-gpu\n")
