"""A model service as a process of its own, for benchmarks: started, awaited, stopped."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from waymark.child_processes.child_process import HOST, Part, wait_until_ready
from waymark.child_processes.readiness import is_ready
from waymark.cli.local_stack import free_ports


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
    """A service until the context ends: `module` such as `services.executor`, `settings` without `WAYMARK_`.

    Raises StackError when it does not start.
    """
    port = settings.get("PORT") or str(free_ports()["executor"])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    variables = {f"WAYMARK_{name}": value for name, value in {**settings, "PORT": port}.items()}
    url = f"http://{HOST}:{port}"
    part = Part(module, [sys.executable, "-m", module], inherited | variables, log)
    try:
        wait_until_ready([part], lambda: is_ready(url), module)
        yield Service(url, part.process)
    finally:
        part.stop()


def machine() -> str:
    """What the figures were taken on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
