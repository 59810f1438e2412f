"""`trajectories` and `corrections`: oracle paths, and ways on from where a trained agent goes astray."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from training.commands.shared import CHECKPOINTS, DATA, DataOption, console, progress_bar
from training.datasets import Sampling
from training.files import require_writable_file
from training.recording import PER_TASK, PathSource, Recording
from training.trajectories import collect, read_manifest, read_parts, read_table, rows_of, write_table
from waymark.errors import InvalidInput
from waymark.process import available_cores
from waymark.worlds.scienceworld.tasks import SPLITS, TASKS, Split, find_task

_GOLD: Final = Path("build/gold/trajectories.parquet")


def trajectories(
    split: Annotated[list[str] | None, typer.Option(help="train, dev or test; may be repeated.")] = None,
    paths: Annotated[
        PathSource, typer.Option(help="Played anew by looking (expert), or the simulator's own, as published (gold).")
    ] = "expert",
    sampling: Annotated[
        Sampling,
        typer.Option(help="Variations: spread over each split (all), or those that were published, without takes."),
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(help=f"At most this many train variations of a task. Default: {PER_TASK}; published: all.", min=1),
    ] = None,
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
    output: Annotated[
        Path | None, typer.Option(help=f"Table to write. Default: {DATA}; gold: {_GOLD}.", show_default=False)
    ] = None,
) -> None:
    """Play oracle paths, keep those whose replay reaches 100, and pack them. Resumes where it was stopped."""
    by_task = parse_limits(limits)
    splits = [known_split(name) for name in split or ["train", "dev"]]
    output = output or (_GOLD if paths == "gold" else DATA)
    require_writable_file(output, "output")
    chosen = [find_task(name) for name in tasks.split(",")] if tasks else list(TASKS)
    anew = {task.id for task in chosen}
    before = read_manifest(output) if tasks and output.exists() else None
    kept = [asdict(one) for one in read_table(output) if one.task_id not in anew] if before else []
    failed = [one for one in before["failed"] if one["task_id"] not in anew] if before else []
    recording = Recording(paths, sampling, limit, by_task, takes, misplaced, simplifications)
    wanted = recording.plan(splits, chosen)
    parts = recording.parts(tasks)
    require_writable_file(parts, "output")
    with progress_bar() as bar:
        task = bar.add_task("oracle paths", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores(), recording.record):
            bar.update(task, completed=done, total=total)
    settings = recording.settings
    if before:  # what is said of the table is still true of most of it
        settings = before["settings"] | {f"recorded anew: {tasks}": settings}
    manifest = write_table(chain(kept, rows_of(wanted, read_parts(parts))), output, settings, failed, before)
    console.print({key: manifest[key] for key in ("trajectories", "steps", "by_split", "by_form")})
    console.print(f"{len(manifest['failed'])} variations did not reach 100; they are listed in the manifest.")


def corrections(
    checkpoints: Annotated[
        Path, typer.Option(help="Holds the agent's: controller and executor, or flat.")
    ] = CHECKPOINTS,
    agent: Annotated[
        Literal["hierarchical", "flat"], typer.Option(help="Who plays and is corrected.")
    ] = "hierarchical",
    rules: Annotated[Literal["all", "none"], typer.Option(help="Rules of play that it uses.")] = "all",
    rollouts: Annotated[int, typer.Option(help="Episodes for each task's train variations together.", min=1)] = 20,
    misplaced: Annotated[int, typer.Option(help="The same where a thing may be carried elsewhere.", min=1)] = 56,
    processes: Annotated[int | None, typer.Option(help="JVMs; default: one a core.", min=1)] = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="Leave out the corrections of earlier agents.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Table to write. Default: that of --data, grown.", show_default=False)
    ] = None,
    data: DataOption = DATA,
) -> None:
    """Let the agent play train variations, and add direct paths from where it goes astray to those of earlier agents.
    Resumes."""
    from training.dagger import checkpoints_used, correct, first_take, numbered
    from training.dagger import plan as plan_corrections

    before, used = read_manifest(data), checkpoints_used(checkpoints, agent)
    target = output or data
    require_writable_file(target, "output" if output else "data")
    now = {"rollouts": rollouts, "misplaced": misplaced, **({"rules": rules} if rules != "all" else {}), **used}
    rounds = [] if afresh else before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    every = [one for one in read_table(data) if one.take < first_take(len(rounds))]
    kept = "-".join([*(sha256[:8] for sha256 in used.values()), str(rollouts), str(misplaced)])
    kept += "-no-rules" * (rules == "none")
    parts = Path(f"build/trajectories/corrections-{kept}.jsonl")
    with progress_bar() as bar:
        task = bar.add_task("episodes", total=None)
        wanted = plan_corrections(every, rollouts, misplaced, checkpoints, agent, without_rules=rules == "none")
        for done, total in collect(wanted, parts, processes or available_cores(), correct):
            bar.update(task, completed=done, total=total)
    settings = before["settings"] | {"corrections": [*rounds, now]}
    rows = chain(map(asdict, every), numbered(read_parts(parts), len(rounds)))
    manifest = write_table(rows, target, settings, before["failed"], before)
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
