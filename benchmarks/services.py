"""A model service as a process of its own, for benchmarks: started, awaited, stopped."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def memory_mb(self) -> float:
        """What it holds in memory now, in MB. Linux only."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(module: str, settings: Mapping[str, str], log: Path) -> Iterator[Service]:
    """A service until the context ends: `module` such as `services.executor`, `settings` without `WAYMARK_`."""
    port = settings.get("PORT") or _free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    given = {f"WAYMARK_{name}": value for name, value in {**settings, "PORT": port}.items()}
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, "-m", module], env=inherited | given, stdout=file, stderr=file)
    url = f"http://{HOST}:{port}"
    try:
        _await(url, process, log)
        yield Service(url, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def machine() -> str:
    """What the figures were taken on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/ready", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise SystemExit(f"The service did not start; its log {log} ends: {log.read_text()[-500:]}")


def _free_port() -> str:
    with socket.create_server((HOST, 0)) as server:
        return str(server.getsockname()[1])
