"""`waymark` as a process of its own, with all that it starts.

Every process of a stack has its runs folder in its environment or works in it; that is how it is found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from waymark.evaluation.run_folder import RunFolder

SCRIPTED = ("--engine", "scripted", "--environment", "scripted")
_SECONDS = 300


class Command:
    """A running `waymark`, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
        environment["WAYMARK_RUNS"] = str(folder / "runs")
        environment["WAYMARK_COMMAND"] = "waymark"
        root = str(Path(__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment |= settings or {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "waymark", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=_SECONDS)
        return self.process.returncode, out, err

    def read_until(self, text: str) -> None:
        """Follow stderr until a line begins with that text."""
        assert self.process.stderr is not None
        seen = ""
        for line in self.process.stderr:
            seen += line
            if line.startswith(text):
                return
        pytest.fail(f"{text!r} never came:\n{seen}")

    def parts(self) -> dict[int, str]:
        """Process id and command line of everything that this command has started and that still runs."""
        runs = self.folder / "runs"
        mark = f"WAYMARK_RUNS={runs}".encode()
        command_lines = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                works_there = (process / "cwd").readlink().is_relative_to(runs)  # Redis, which hides its environment
                if works_there or mark in (process / "environ").read_bytes():
                    command_lines[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended meanwhile, or is another user's
        command_lines.pop(self.process.pid, None)
        return command_lines

    @property
    def run(self) -> RunFolder:
        """The one run in the folder."""
        (only,) = (self.folder / "runs").glob("*/evaluation.json")
        return RunFolder(only.parent)
