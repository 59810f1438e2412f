"""`docker compose` on projects of the tests' own: names, ports and folders are not those of the user's stack."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
_PORTS = ("", "CONTROLLER_", "EXECUTOR_", "GPU_CONTROLLER_", "GPU_EXECUTOR_", "PROMETHEUS_", "GRAFANA_")


def skip_without_engine(config: pytest.Config) -> None:
    """Skip a test that needs a Docker engine, and say why."""
    if not config.getoption("--compose"):
        pytest.skip("needs --compose")
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs a running Docker engine")


class NotPublished(Exception):
    """A service has no port on this machine now."""


class Compose:
    """One project of a checkout. A call runs `docker compose`, and fails the test if that fails.

    `files` come beside the checkout's own file.
    """

    def __init__(
        self, name: str, runs: Path, *files: Path, settings: Mapping[str, str] | None = None, checkout: Path = ROOT
    ) -> None:
        self.name = name
        self.runs = runs
        self._checkout = checkout
        named = [part for file in (checkout / "docker-compose.yml", *files) for part in ("--file", str(file))]
        self._command = ["docker", "compose", "--project-directory", str(checkout), "--project-name", name, *named]
        own = {f"WAYMARK_{part}PORT": "0" for part in _PORTS}
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("WAYMARK_", "COMPOSE_"))}
        self.settings = {**clean, **own, "WAYMARK_RUNS_FOLDER": str(runs), **(settings or {})}

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self._checkout,
            env=self.settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def url(self, service: str, port: int) -> str:
        """Where a service is published. Raises NotPublished while its container restarts."""
        address = self("port", service, str(port), check=False).stdout.strip()
        if not address or address.endswith(":0"):
            raise NotPublished(f"{service} is not published")
        return f"http://{address}"

    def containers(self, *services: str) -> dict[str, str]:
        """The id of each service's first container."""
        return {service: self("ps", "--all", "--quiet", service).stdout.split()[0] for service in services}

    def crash(self, service: str) -> None:
        """Kill the first process of a service's container, as a crash would: Docker starts it again."""
        [container] = self.containers(service).values()
        pid = docker("inspect", "--format", "{{.State.Pid}}", container).strip()
        os.kill(int(pid), signal.SIGKILL)

    def metrics(self, service: str) -> str:
        """What a worker counts; nothing while it starts."""
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9000/metrics').read().decode())"
        return self("exec", "--no-TTY", service, "python", "-c", code, check=False).stdout

    def down(self) -> None:
        """Remove everything of the project."""
        self("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)


def docker(*arguments: str, text: str | None = None) -> str:
    """The output of a `docker` command; `text` is its input."""
    return subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True, check=True).stdout


class Runner:
    """The env-runner of a project, over HTTP. It is asked again where it has just been killed."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def ask(self, method: str, path: str, body: object = None, seconds: float = 120) -> Any:
        """The answer's document, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                url = self._compose.url("env-runner", 8000)
                answer = httpx.request(method, url + path, json=body, timeout=10, trust_env=False)
                if answer.is_success:
                    return answer.json()
                problem = answer.text
                assert answer.is_server_error, problem
            except (httpx.HTTPError, NotPublished) as error:
                problem = str(error)
            assert time.monotonic() < deadline, problem
            time.sleep(0.5)

    def submit(self, **request: object) -> str:
        """Begin an evaluation."""
        name: str = self.ask("POST", "/v1/evaluations", request)["id"]
        return name

    def until(self, evaluation: str, *, finished: int, stalled_seconds: float = 180) -> dict[str, Any]:
        """The status, once so many episodes are finished. Fails if none finishes for `stalled_seconds`."""
        most, since = -1, time.monotonic()
        while True:
            status: dict[str, Any] = self.ask("GET", f"/v1/evaluations/{evaluation}")
            if status["finished"] >= finished:
                return status
            if status["finished"] > most:
                most, since = status["finished"], time.monotonic()
            assert time.monotonic() < since + stalled_seconds, status
            time.sleep(0.5)
