"""The stages from the simulator to the table: commands of Waymark, each of which resumes by itself.

`progress.json` in the folder says which stages are done: their command, what they wrote with its hash, and how long it
took. A stage is done again when its command or what it wrote is not that any more, and so are those after it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from training.files import read_json, sha256_of
from training.recipe import recipe_sha256
from training.reproduce.plan import ROLES, Settings
from waymark.errors import InvalidInput, WaymarkError
from waymark.process import end_with

PROGRESS: Final = "progress.json"
AGENTS: Final = ("published", "published_flat")
MOST_FAILED: Final = 0.1
"""The share of paths that may stay without an annotation."""
FORMAT: Final = "seed"
_SECONDS_TO_END: Final = 60.0
"""What a command may take to save its state when it is told to end."""


class StageFailed(WaymarkError):
    """A stage ended with an error, which it has told; `code` is its exit code."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"Stage {name} ended with exit code {code}.", remedy="The same command goes on there.")
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


def stages(settings: Settings) -> Iterator[Stage]:
    """All stages, in order."""
    folder, data = settings.folder, ("--data", str(settings.data))
    limit = () if settings.limit is None else ("--limit", str(settings.limit))
    tasks = ("--tasks", settings.tasks) if settings.tasks else ()
    recorded = ("--paths", settings.paths, "--sampling", "published", "--takes", "0", "--misplaced", "0")
    processes = ("--processes", str(settings.processes))
    yield Stage(
        "trajectories",
        "training",
        ("trajectories", *recorded, *limit, *tasks, *processes, "--output", str(settings.data)),
        (settings.data, settings.data.with_suffix(".manifest.json")),
    )
    llm = tuple(settings.llm) if settings.annotator == "llm" else ()
    yield Stage(
        "annotate",
        "training",
        ("annotate", "--annotator", settings.annotator, *data, "--output", str(settings.annotations), *llm),
        (settings.annotations,),
    )
    both = (*data, "--annotations", str(settings.annotations))
    recipe = ["--recipe", str(settings.recipe)]
    recipe += ["--size", settings.size] if settings.size else []
    recipe += [word for change in settings.changes for word in ("--set", change)]
    recipe += ["--base", settings.base] if settings.base else []
    for role in ROLES:
        wording = ("--format", FORMAT, *(("--controller", "every-step") if role == "controller" else ()))
        base = ("--tokenizer", settings.recipe_of(role).base, "--recipe", str(settings.recipe))
        output = folder / "datasets" / role
        yield Stage(
            f"datasets {role}",
            "training",
            ("datasets", role, *wording, *base, *both, "--output", str(output)),
            (output,),
        )
    for role in ROLES:
        wording = ("--format", FORMAT, *(("--controller", "every-step") if role == "controller" else ()))
        run, checkpoint = folder / "runs" / role, folder / "checkpoints" / role
        yield Stage(
            f"finetune {role}",
            "launch" if settings.launch else "training",
            ("finetune", role, *wording, *recipe, *both, "--run", str(run)),
            (run / "best",),
            recipe_sha256(settings.recipe_of(role)),
        )
        yield Stage(
            f"export {role}",
            "training",
            ("export", role, "--format", FORMAT, "--run", str(run), "--output", str(checkpoint), *data),
            (checkpoint,),
        )
    play = folder / "play"
    chosen = [*tasks, *(("--variations", settings.variations) if settings.variations else ())]
    chosen += ["--beams", str(settings.beams)] if settings.beams else []
    chosen += ["--slots", str(settings.slots)] if settings.slots else []
    yield Stage(
        "evaluate",
        "waymark",
        ("evaluate", "--protocol", settings.protocol, "--agent", ",".join(AGENTS), "--checkpoints",
         str(folder / "checkpoints"), "--runs", str(play), *chosen),
        (play,),
    )  # fmt: skip


class Progress:
    """Which stages are done."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self.done: dict[str, Any] = (
            read_json(self._path, "the progress of a reproduction") if self._path.exists() else {}
        )

    def is_done(self, stage: Stage) -> bool:
        """Whether it was done by this command, and what it wrote is as it was."""
        entry = self.done.get(stage.name)
        if not isinstance(entry, dict):  # none, or a file that somebody has edited: the stage is done again
            return False
        if (entry.get("command"), entry.get("recipe_sha256")) != (stage.command, stage.recipe_sha256):
            return False
        return bool(entry.get("files") == hashes(stage.outputs))

    def note(self, stage: Stage, seconds: float) -> None:
        """Note that a stage is done. What came after it before is not."""
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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self.done, indent=1) + "\n")
        part.replace(self._path)


def hashes(outputs: Sequence[Path]) -> dict[str, str]:
    """The hash of each file, and of each file in a folder but logs, by its path."""
    found: dict[str, str] = {}
    for output in outputs:
        files = sorted(output.rglob("*")) if output.is_dir() else [output]
        found |= {str(path): sha256_of(path) for path in files if path.is_file() and "logs" not in path.parent.name}
    return found


def run_all(settings: Settings, say: Callable[[str], None]) -> Progress:
    """Do what is not done. Raises StageFailed, and what a stage raises; the same call goes on where it stopped."""
    progress, every = Progress(settings.folder), list(stages(settings))
    for number, stage in enumerate(every, start=1):
        heading = f"[{number}/{len(every)}] {stage.name}"
        if progress.is_done(stage):
            say(f"{heading}: done")
            continue
        progress.forget([later.name for later in every[number - 1 :]])
        say(f"{heading}: {stage.command}")
        began = time.monotonic()
        code = _run(stage, settings)
        if code and not _is_good_enough(stage, code, settings):
            raise StageFailed(stage.name, code)
        progress.note(stage, time.monotonic() - began)
    return progress


def run_training(arguments: Sequence[str]) -> int:
    """The exit code of a training command, run in this process, which has loaded its libraries."""
    from training.__main__ import app

    try:
        code = app(list(arguments), standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    return code if isinstance(code, int) else 0


def _run(stage: Stage, settings: Settings) -> int:
    """A stage's exit code. Training commands run in this process, which has loaded their libraries."""
    if stage.program == "training":
        return run_training(stage.arguments)
    if stage.program == "launch":
        return _run_child([*launcher(settings.launch), "-m", "training", *stage.arguments])
    (play,) = stage.outputs
    begun = sorted(path.parent for path in play.glob("*/evaluation.json"))
    arguments = stage.arguments
    if len(begun) == len(AGENTS):
        slots = ("--slots", str(settings.slots)) if settings.slots else ()
        checkpoints = ("--checkpoints", str(settings.folder / "checkpoints"))
        arguments = ("resume", *map(str, begun), *checkpoints, *slots)
    return _run_child([sys.executable, "-m", "waymark", *arguments])


def launcher(launch: str) -> list[str]:
    """The words of a launcher's command. Raises InvalidInput (field `launch`) for one that cannot be started."""
    try:
        words = shlex.split(launch)
    except ValueError as error:
        raise InvalidInput(
            f"--launch {launch!r} is no command: {str(error).lower()}.",
            remedy="Quote it as a shell would take it.",
            field="launch",
        ) from error
    if words and words[0] == "accelerate":  # that of this environment, which need not be on PATH
        words[:1] = [sys.executable, "-m", "accelerate.commands.accelerate_cli"]
    if not words or shutil.which(words[0]) is None:
        raise InvalidInput(
            f"--launch {launch!r} names no program that can be started.",
            remedy="For example --launch 'accelerate launch --config_file F'.",
            field="launch",
        )
    return words


def _run_child(command: Sequence[str]) -> int:
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


def _is_good_enough(stage: Stage, code: int, settings: Settings) -> bool:
    """Whether to go on although some of a stage's items failed: paths without annotation, episodes with an error."""
    if stage.name == "annotate" and code == 1:
        facts = read_json(settings.annotations.with_suffix(".manifest.json"), "a manifest of annotations")
        failed = len(facts["failed"])
        return bool(failed <= MOST_FAILED * (failed + facts["paths"]))
    return stage.name == "evaluate" and code == 1
