"""`trajectories` and `corrections`: oracle paths, and ways on from where a trained agent goes astray."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import typer

from training.commands.shared import CHECKPOINTS, DATA, DataOption, console, progress_bar
from training.files import require_writable_file
from training.trajectories import collect, plan, read_manifest, read_parts, read_table, rows_of, write_table
from waymark.errors import InvalidInput
from waymark.process import available_cores
from waymark.tasks import SPLITS, TASKS, Split, find_task

_HELD_OUT: Final = 3
"""Variations of each task that are recorded of a split that is not trained on."""


def trajectories(
    split: Annotated[list[str] | None, typer.Option(help="train, dev or test; may be repeated.")] = None,
    limit: Annotated[
        int, typer.Option(help="At most this many variations of a task, spread over its split.", min=1)
    ] = 80,
    limits: Annotated[str, typer.Option(help="Other limits by task, e.g. 3-3=20,10-2=120.")] = "",
    takes: Annotated[
        int, typer.Option(help="Takes with detours for each task's train variations together.", min=0)
    ] = 70,
    misplaced: Annotated[
        int, typer.Option(help="Takes more whose thing lies elsewhere, where a task has such.", min=0)
    ] = 60,
    simplifications: Annotated[str, typer.Option(help="As ScienceWorld writes them.")] = "easy",
    tasks: Annotated[str, typer.Option(help="Record only these anew, e.g. 3-1,8-1; of others --output is kept.")] = "",
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.", min=1)] = None,
    output: Annotated[Path, typer.Option(help="Table to write.")] = DATA,
) -> None:
    """Play oracle paths, keep those whose replay reaches 100, and pack them. Resumes where it was stopped."""
    by_task = parse_limits(limits)
    splits = [known_split(name) for name in split or ["train", "dev"]]
    require_writable_file(output, "output")
    chosen = [find_task(name) for name in tasks.split(",")] if tasks else list(TASKS)
    anew = {task.id for task in chosen}
    before = read_manifest(output) if tasks and output.exists() else None
    kept = [asdict(one) for one in read_table(output) if one.task_id not in anew] if before else []
    failed = [one for one in before["failed"] if one["task_id"] not in anew] if before else []
    wanted = []
    for name in splits:
        if name == "train":
            wanted += plan(name, limit, by_task, simplifications, takes, misplaced, chosen)
        else:
            wanted += plan(name, _HELD_OUT, {}, simplifications, tasks=chosen)
    # What was recorded by other settings is another's: takes are numbered and drawn by them.
    named = [simplifications, limit, *(f"{task}={count}" for task, count in by_task.items()), takes, misplaced]
    parts = Path(f"build/trajectories/{'-'.join(map(str, named))}{'-' + tasks if tasks else ''}.jsonl")
    require_writable_file(parts, "output")
    with progress_bar() as bar:
        task = bar.add_task("oracle paths", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores()):
            bar.update(task, completed=done, total=total)
    settings = {"simplifications": simplifications, "limit": limit, "limits": by_task}
    settings |= {"takes": takes, "misplaced": misplaced}
    if before:  # what is said of the table is still true of most of it
        settings = before["settings"] | {f"recorded anew: {tasks}": settings}
    manifest = write_table(chain(kept, rows_of(wanted, read_parts(parts))), output, settings, failed, before)
    console.print({key: manifest[key] for key in ("trajectories", "steps", "by_split", "by_form")})
    console.print(f"{len(manifest['failed'])} variations did not reach 100; they are listed in the manifest.")


def corrections(
    checkpoints: Annotated[Path, typer.Option(help="Holds the agent's: controller and executor.")] = CHECKPOINTS,
    rollouts: Annotated[int, typer.Option(help="Episodes for each task's train variations together.", min=1)] = 20,
    misplaced: Annotated[int, typer.Option(help="The same where a thing may be carried elsewhere.", min=1)] = 56,
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.", min=1)] = None,
    data: DataOption = DATA,
) -> None:
    """Let the agent play train variations, and add direct paths from where it goes astray to those of earlier agents.
    Resumes."""
    from training.corrections import checkpoints_used, correct, first_take, numbered
    from training.corrections import plan as plan_corrections

    before, used = read_manifest(data), checkpoints_used(checkpoints)
    require_writable_file(data, "data")
    now = {"rollouts": rollouts, "misplaced": misplaced, **used}
    rounds = before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    every = [one for one in read_table(data) if one.take < first_take(len(rounds))]
    kept = "-".join([*(sha256[:8] for sha256 in used.values()), str(rollouts), str(misplaced)])
    parts = Path(f"build/trajectories/corrections-{kept}.jsonl")
    with progress_bar() as bar:
        task = bar.add_task("episodes", total=None)
        wanted = plan_corrections(every, rollouts, misplaced, checkpoints)
        for done, total in collect(wanted, parts, processes or available_cores(), correct):
            bar.update(task, completed=done, total=total)
    settings = before["settings"] | {"corrections": [*rounds, now]}
    rows = chain(map(asdict, every), numbered(read_parts(parts), len(rounds)))
    manifest = write_table(rows, data, settings, before["failed"], before)
    found = manifest["trajectories"] - len(every)
    console.print(f"{found} corrections; annotate them next: python -m training annotate")


def known_split(name: str) -> Split:
    """The split of that name. Raises InvalidInput."""
    if name not in SPLITS:
        raise InvalidInput(f"Unknown split {name!r}.", remedy=f"Splits are {', '.join(SPLITS)}.", field="split")
    return name


def parse_limits(text: str) -> dict[str, int]:
    """Task id to how many variations, from `3-3=20,10-2=120`. Raises InvalidInput."""
    limits: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, count = part.partition("=")
        task = find_task(name).id
        if not (count.strip().isascii() and count.strip().isdigit()) or len(count) > 6 or task in limits:
            raise InvalidInput(
                f"Limits must be TASK=NUMBER between commas, each task once, e.g. 3-3=20,10-2=120; got {part!r}.",
                remedy="Correct --limits.",
                field="limits",
            )
        limits[task] = int(count)
    return limits
