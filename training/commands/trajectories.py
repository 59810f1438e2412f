"""`trajectories`: record oracle paths."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from training.commands.common_options import ProcessesOption, WorldOption
from training.commands.console import console, progress_bar
from training.trajectories import collect, read_manifest, read_parts, read_table, rows_of, write_table
from training.user_files import require_writable_file
from training.worlds.base import PathSource, RecordingRequest, Sampling
from training.worlds.registry import training_world
from waymark.errors import InvalidInput
from waymark.operating_system.cpu_cores import available_cores
from waymark.worlds.base import SPLITS, Split, World
from waymark.worlds.registry import DEFAULT_WORLD


def trajectories(
    split: Annotated[
        list[str] | None, typer.Option(help="Split to record: train, dev or test. May be repeated.")
    ] = None,
    world: WorldOption = DEFAULT_WORLD,
    paths: Annotated[
        PathSource | None,
        typer.Option(
            help="Solutions to record: a scripted expert's (expert), the simulator's without needless steps "
            "(shortened), or the simulator's as they are (gold). Default: expert; textworld-express: shortened.",
            show_default=False,
        ),
    ] = None,
    sampling: Annotated[
        Sampling,
        typer.Option(
            help="Variations to record: spread over each split (all), or those of the publication (published)."
        ),
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(
            help="Largest number of train variations of each task. Default: 80; with --sampling published all; "
            "textworld-express: 400.",
            min=1,
        ),
    ] = None,
    limits: Annotated[str, typer.Option(help="Limits of single tasks in place of --limit, e.g. 3-3=20,10-2=120.")] = "",
    takes: Annotated[
        int | None,
        typer.Option(
            help="Extra recordings of each task with perturbations; in textworld-express with other names. "
            "Default: 70; textworld-express: one for each path.",
            min=0,
        ),
    ] = None,
    misplaced: Annotated[
        int | None,
        typer.Option(
            help="Extra recordings with a thing moved to another room, for tasks that allow it. Default: 60.", min=0
        ),
    ] = None,
    options: Annotated[
        str | None,
        typer.Option(
            "--options",
            "--simplifications",
            help="Options of the environment. Default: the world's; of ScienceWorld easy.",
        ),
    ] = None,
    tasks: Annotated[
        str, typer.Option(help="Record only these tasks again, e.g. 3-1,8-1. Others stay as they are.")
    ] = "",
    processes: ProcessesOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Table to write. Default: the world's, data/trajectories.parquet; gold: in build/gold.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record solved episodes for training.

    Only those whose replay reaches a score of 100 are kept. Resumes where it was stopped.
    """
    trained = training_world(world)
    by_task = parse_limits(limits, trained.world)
    splits = [known_split(name) for name in split or ["train", "dev"]]
    recording = trained.recording(RecordingRequest(paths, sampling, limit, by_task, takes, misplaced, options))
    output = output or trained.table(paths)
    require_writable_file(output, "output")
    chosen = [trained.world.find_task(name) for name in tasks.split(",")] if tasks else list(trained.world.tasks)
    anew = {task.id for task in chosen}
    before = read_manifest(output) if tasks and output.exists() else None
    kept = [asdict(path) for path in read_table(output, trained.world) if path.task_id not in anew] if before else []
    failed = [variation for variation in before["failed"] if variation["task_id"] not in anew] if before else []
    wanted = recording.plan(splits, chosen)
    parts = recording.parts(tasks)
    require_writable_file(parts, "output")
    with progress_bar() as bar:
        task = bar.add_task("oracle paths", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores(), recording.record, trained.world):
            bar.update(task, completed=done, total=total)
    settings = recording.settings
    if before:  # what is said of the table is still true of most of it
        settings = before["settings"] | {f"recorded anew: {tasks}": settings}
    rows = chain(kept, rows_of(wanted, read_parts(parts)))
    manifest = write_table(rows, output, settings, trained.world, failed, before)
    console.print({key: manifest[key] for key in ("trajectories", "steps", "by_split", "by_form")})
    console.print(f"{len(manifest['failed'])} variations did not reach 100; they are listed in the manifest.")


def known_split(name: str) -> Split:
    """The split of that name. Raises InvalidInput."""
    if name not in SPLITS:
        raise InvalidInput(f"Unknown split {name!r}.", remedy=f"Splits are {', '.join(SPLITS)}.", field="split")
    return name


def parse_limits(text: str, world: World) -> dict[str, int]:
    """Task id to how many variations, from `3-3=20,10-2=120`. Raises InvalidInput."""
    limits: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, count = part.partition("=")
        task = world.find_task(name).id
        if not (count.strip().isascii() and count.strip().isdigit()) or len(count) > 6 or task in limits:
            raise InvalidInput(
                f"Limits must be TASK=NUMBER between commas, each task once, e.g. 3-3=20,10-2=120; got {part!r}.",
                remedy="Correct --limits.",
                field="limits",
            )
        limits[task] = int(count)
    return limits
