"""The stages from the simulator to the table: commands of Waymark, each of which resumes by itself."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import Final

from training.recipe import recipe_sha256
from training.reproduce.plan import ROLES, Settings
from training.resumable_stages import Progress, Stage, run_child, run_stages, run_training
from training.user_files import read_json
from waymark.errors import InvalidInput

AGENTS: Final = ("published", "published_flat")
MOST_FAILED: Final = 0.1
"""Largest share of paths that may stay without annotation."""
FORMAT: Final = "seed"


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


def finished(settings: Settings, progress: Progress) -> frozenset[str]:
    """The names of the stages that will be skipped: done by the same command, with all before them, and unchanged."""
    return frozenset(stage.name for stage in takewhile(progress.is_done, stages(settings)))


def launcher(launch: str) -> list[str]:
    """Split a launcher's command into words. Raises InvalidInput (field `launch`) if it cannot be started."""
    try:
        words = shlex.split(launch)
    except ValueError as error:
        raise InvalidInput(
            f"--launch {launch!r} is no command: {str(error).lower()}.",
            remedy="Quote it as in a shell.",
            field="launch",
        ) from error
    if words and words[0] == "accelerate":  # the one of this virtual environment, which may not be on PATH
        words[:1] = [sys.executable, "-m", "accelerate.commands.accelerate_cli"]
    if not words or shutil.which(words[0]) is None:
        raise InvalidInput(
            f"--launch {launch!r} names no program that can be started.",
            remedy="For example --launch 'accelerate launch --config_file F'.",
            field="launch",
        )
    return words


def run_all(settings: Settings, say: Callable[[str], None]) -> Progress:
    """Run the unfinished stages. Raises StageFailed, and errors of a stage; the same call resumes where it stopped."""
    progress = Progress(settings.folder)
    run_stages(list(stages(settings)), progress, partial(_run, settings=settings), say)
    return progress


def _run(stage: Stage, settings: Settings) -> int:
    """A stage's exit code; 0 also where too few of its items failed to stop for."""
    code = _exit_code(stage, settings)
    return 0 if code and _is_good_enough(stage, code, settings) else code


def _exit_code(stage: Stage, settings: Settings) -> int:
    """A stage's exit code. Training commands run in this process, which has loaded their libraries."""
    if stage.program == "training":
        return run_training(stage.arguments)
    if stage.program == "launch":
        return run_child([*launcher(settings.launch), "-m", "training", *stage.arguments])
    (play,) = stage.outputs
    begun = sorted(path.parent for path in play.glob("*/evaluation.json"))
    arguments = stage.arguments
    if len(begun) == len(AGENTS):
        slots = ("--slots", str(settings.slots)) if settings.slots else ()
        checkpoints = ("--checkpoints", str(settings.folder / "checkpoints"))
        arguments = ("resume", *map(str, begun), *checkpoints, *slots)
    return run_child([sys.executable, "-m", "waymark", *arguments])


def _is_good_enough(stage: Stage, code: int, settings: Settings) -> bool:
    """Whether to continue although some items of a stage failed: paths without annotation, episodes with an error."""
    if stage.name == "annotate" and code == 1:
        facts = read_json(settings.annotations.with_suffix(".manifest.json"), "a manifest of annotations")
        failed = len(facts["failed"])
        return bool(failed <= MOST_FAILED * (failed + facts["paths"]))
    return stage.name == "evaluate" and code == 1
