"""Stages of a long job: commands of Waymark that are run one after another, each of which resumes by itself.

`progress.json` in the job's folder says which stages are done: their command, what they wrote with its hash, and how
long they took. A stage is done again when its command or what it wrote has changed since, and so are those after it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from training.user_files import read_json, replacing, sha256_of
from waymark.errors import WaymarkError
from waymark.operating_system.process_tree import end_with

PROGRESS: Final = "progress.json"
_SECONDS_TO_END: Final = 60.0
"""Seconds that a command has to save its state after SIGTERM."""


class StageFailed(WaymarkError):
    """A stage ended with an error, which it has printed; `code` is its exit code."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(
            f"Stage {name} ended with exit code {code}.", remedy="Run the same command again to resume it."
        )
        self.code = code


@dataclass(frozen=True)
class Stage:
    """One command and the files or folders that it writes."""

    name: str
    program: str
    """`training`, `waymark`, or `launch` for `accelerate launch … -m training`."""
    arguments: tuple[str, ...]
    outputs: tuple[Path, ...]
    recipe_sha256: str = ""
    """Of what it trains by."""

    @property
    def command(self) -> str:
        """As one would type it."""
        program = "training" if self.program == "launch" else self.program
        return shlex.join(["python", "-m", program, *self.arguments])


class Progress:
    """Which stages are done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self.done: dict[str, Any] = read_json(self._path, "a record of finished stages") if self._path.exists() else {}

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage was done by this command, and its files are unchanged."""
        entry = self.done.get(stage.name)
        if not isinstance(entry, dict):  # missing or edited by hand: the stage runs again
            return False
        if (entry.get("command"), entry.get("recipe_sha256")) != (stage.command, stage.recipe_sha256):
            return False
        return bool(entry.get("files") == hashes(stage.outputs))

    def note(self, stage: Stage, seconds: float) -> None:
        """Record that a stage is done, and that the stages after it are not."""
        self.done[stage.name] = {
            "command": stage.command,
            "recipe_sha256": stage.recipe_sha256,
            "seconds": round(seconds, 1),
            "files": hashes(stage.outputs),
        }
        self._write()

    def forget(self, names: Sequence[str]) -> None:
        """These stages have to be done again."""
        for name in names:
            self.done.pop(name, None)
        self._write()

    def _write(self) -> None:
        with replacing(self._path) as partial:
            partial.write_text(json.dumps(self.done, indent=1) + "\n")


def hashes(outputs: Sequence[Path]) -> dict[str, str]:
    """The hash of each file, and of each file in a folder except logs, by its path."""
    digests: dict[str, str] = {}
    for output in outputs:
        files = sorted(output.rglob("*")) if output.is_dir() else [output]
        digests |= {str(path): sha256_of(path) for path in files if path.is_file() and "logs" not in path.parent.name}
    return digests


def run_stages(
    stages: Sequence[Stage],
    progress: Progress,
    run: Callable[[Stage], int],
    say: Callable[[str], object],
    *,
    timed: bool = False,
) -> None:
    """Run the stages that are not done; the same call goes on where it stopped.

    `run` runs one and returns its exit code, 0 if the job may go on. `say` is told each stage's number and command, and
    if `timed` how long it took. Raises StageFailed, and what `run` raises.
    """
    for number, stage in enumerate(stages, start=1):
        heading = f"[{number}/{len(stages)}] {stage.name}"
        if progress.is_done(stage):
            say(f"{heading}: done")
            continue
        progress.forget([later.name for later in stages[number - 1 :]])
        say(f"{heading}: {stage.command}")
        began = time.monotonic()
        if code := run(stage):
            raise StageFailed(stage.name, code)
        progress.note(stage, time.monotonic() - began)
        if timed:
            say(f"{heading}: {clock(progress.done[stage.name]['seconds'])}")


def clock(seconds: float) -> str:
    """A duration as hours, minutes and seconds."""
    rounded = round(seconds)
    return f"{rounded // 3600}:{rounded // 60 % 60:02}:{rounded % 60:02}"


def run_training(arguments: Sequence[str]) -> int:
    """The exit code of a training command, run in this process, which has loaded its libraries."""
    from training.cli import app

    try:
        code = app(list(arguments), standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    return code if isinstance(code, int) else 0


def run_child(command: Sequence[str]) -> int:
    """The exit code of a command, as a shell gives it.

    When this process is interrupted, the command gets SIGTERM and time to save what it has. When this process is
    killed, the kernel tells the command (Linux only), so that the next run meets no other at work in its folder.
    """
    child = subprocess.Popen(
        command,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then tells the command once
        preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - it makes two system calls
    )
    try:
        code = child.wait()
    except BaseException:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_SECONDS_TO_END)
        child.kill()
        child.wait()
        raise
    return code if code >= 0 else 128 - code
