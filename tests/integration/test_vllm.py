"""A service with a vLLM process of its own, for real: `./run test --vllm`.

Its answers are held to the reference engine's in test_engines.py; tests/service/test_vllm.py has what needs no vLLM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.test_engines import TEXTS, make_checkpoint
from waymark.child_processes.child_process import HOST, Part
from waymark.child_processes.readiness import is_ready
from waymark.cli.local_stack import free_ports

_SECONDS = 900
"""vLLM takes a minute to start, on a busy machine ten."""


def until(true: Callable[[], bool], part: Part) -> None:
    deadline = time.monotonic() + _SECONDS
    while not true():
        part.check()
        assert time.monotonic() < deadline
        time.sleep(0.5)


def descendants(process: int) -> list[int]:
    """Processes that it started, and those that they did."""
    children = [
        int(child) for file in Path(f"/proc/{process}/task").glob("*/children") for child in _read(file).split()
    ]
    return children + [descendant for child in children for descendant in descendants(child)]


def is_alive(process: int) -> bool:
    return _read(Path(f"/proc/{process}/stat")).partition(") ")[2][:1] not in ("", "Z")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_service_outlives_its_vllm_and_ends_it_when_closed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--vllm"):
        pytest.skip("needs --vllm")
    make_checkpoint(tmp_path / "tiny", "causal")
    port = free_ports()["executor"]
    settings = {
        "WAYMARK_PORT": str(port),
        "WAYMARK_ENGINE": "vllm",
        "WAYMARK_THREADS": "1",
        "WAYMARK_CHECKPOINTS": f"default={tmp_path / 'tiny'}",
    }
    part = Part("executor", [sys.executable, "-m", "services.executor"], {**os.environ, **settings}, tmp_path / "log")
    url = f"http://{HOST}:{port}"

    def answer() -> httpx.Response:
        body = {"model": "default", "prompt": TEXTS[0], "n": 2, "logprobs": 0}
        return httpx.post(f"{url}/v1/completions", json=body, timeout=60, trust_env=False)

    try:
        until(lambda: is_ready(url), part)
        first = answer().raise_for_status().json()["choices"]
        started = descendants(part.process.pid)
        os.kill(started[0], signal.SIGKILL)
        until(lambda: not is_ready(url), part)
        assert answer().status_code == httpx.codes.SERVICE_UNAVAILABLE
        until(lambda: is_ready(url), part)
        assert answer().raise_for_status().json()["choices"] == first
        started += descendants(part.process.pid)
    finally:
        part.process.kill()
        part.process.wait()
    deadline = time.monotonic() + 60
    while any(map(is_alive, started)):
        assert time.monotonic() < deadline, started
        time.sleep(0.5)
