"""`trajectories`, `corrections`, `self-play`: oracle paths, ways on from an agent's mistakes, its solved episodes."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.commands.shared import DataOption, WorldOption, console, progress_bar
from training.files import require_writable_file
from training.trajectories import collect, read_manifest, read_parts, read_table, rows_of, write_table
from training.worlds.base import PathSource, RecordingRequest, Sampling
from training.worlds.registry import training_world
from waymark.commands.options import finite
from waymark.errors import InvalidInput
from waymark.process import available_cores
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
        typer.Option(help="Variations: spread over each split (all), or those that were published."),
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(
            help="Train variations of each task at most. Default: 80, published: all; textworld-express: 400.",
            min=1,
        ),
    ] = None,
    limits: Annotated[str, typer.Option(help="Other limits for single tasks, e.g. 3-3=20,10-2=120.")] = "",
    takes: Annotated[
        int | None,
        typer.Option(
            help="Changed recordings of each task: with perturbations; in textworld-express with other names. "
            "Default: 70; textworld-express: one for each path.",
            min=0,
        ),
    ] = None,
    misplaced: Annotated[
        int | None,
        typer.Option(help="More recordings with a thing moved elsewhere, for tasks that allow it. Default: 60.", min=0),
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
    processes: Annotated[
        int | None, typer.Option(help="Simulators at once. Default: one for each core.", min=1)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Table to write. Default: the world's, data/trajectories.parquet; gold: build/gold/….",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record solved episodes and keep those whose replay reaches 100. Resumes where it was stopped."""
    trained = training_world(world)
    by_task = parse_limits(limits, trained.world)
    splits = [known_split(name) for name in split or ["train", "dev"]]
    recording = trained.recording(RecordingRequest(paths, sampling, limit, by_task, takes, misplaced, options))
    output = output or trained.table(paths)
    require_writable_file(output, "output")
    chosen = [trained.world.find_task(name) for name in tasks.split(",")] if tasks else list(trained.world.tasks)
    anew = {task.id for task in chosen}
    before = read_manifest(output) if tasks and output.exists() else None
    kept = [asdict(one) for one in read_table(output) if one.task_id not in anew] if before else []
    failed = [one for one in before["failed"] if one["task_id"] not in anew] if before else []
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


def corrections(
    world: WorldOption = DEFAULT_WORLD,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder with controller and executor, or flat. Default: those that ship."),
    ] = None,
    agent: Annotated[
        Literal["hierarchical", "flat"], typer.Option(help="Agent that plays and is corrected.")
    ] = "hierarchical",
    rules: Annotated[Literal["all", "none"], typer.Option(help="Rules of play of that agent.")] = "all",
    rollouts: Annotated[int, typer.Option(help="Episodes of each task.", min=1)] = 20,
    misplaced: Annotated[int, typer.Option(help="Episodes of each task that allows a thing to be moved.", min=1)] = 56,
    processes: Annotated[
        int | None, typer.Option(help="Simulators at once. Default: one for each core.", min=1)
    ] = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="Leave out the corrections of earlier agents.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Table to write. Default: that of --data.", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Let the agent play train variations, and add solutions from where it goes astray. Resumes."""
    trained = training_world(world)
    dagger = trained.corrections()
    data, checkpoints = data or trained.data, checkpoints or trained.checkpoints
    before, used = read_manifest(data), dagger.checkpoints_used(checkpoints, agent)
    target = output or data
    require_writable_file(target, "output" if output else "data")
    now = {"rollouts": rollouts, "misplaced": misplaced, **({"rules": rules} if rules != "all" else {}), **used}
    rounds = [] if afresh else before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    every = [one for one in read_table(data) if one.take < dagger.first_take(len(rounds))]
    kept = "-".join([*(sha256[:8] for sha256 in used.values()), str(rollouts), str(misplaced)])
    kept += "-no-rules" * (rules == "none")
    parts = Path(f"build/trajectories/corrections-{kept}.jsonl")
    with progress_bar() as bar:
        task = bar.add_task("episodes", total=None)
        wanted = dagger.plan(every, rollouts, misplaced, checkpoints, agent, without_rules=rules == "none")
        for done, total in collect(wanted, parts, processes or available_cores(), dagger.correct, trained.world):
            bar.update(task, completed=done, total=total)
    settings = before["settings"] | {"corrections": [*rounds, now]}
    rows = chain(map(asdict, every), dagger.numbered(read_parts(parts), len(rounds)))
    manifest = write_table(rows, target, settings, trained.world, before["failed"], before)
    found = manifest["trajectories"] - len(every)
    console.print(f"{found} corrections; annotate them next: python -m training annotate")


def self_play(
    world: WorldOption = DEFAULT_WORLD,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder with controller and executor, or flat. Default: those that ship."),
    ] = None,
    agent: Annotated[Literal["hierarchical", "flat"], typer.Option(help="Agent that plays.")] = "hierarchical",
    rules: Annotated[Literal["all", "none"], typer.Option(help="Rules of play of that agent.")] = "none",
    rollouts: Annotated[int, typer.Option(help="Episodes of each variation.", min=1)] = 4,
    variations: Annotated[int, typer.Option(help="Train variations of each task at most.", min=1)] = 20,
    temperature: Annotated[
        float, typer.Option(callback=finite, help="Decisions are drawn with p^(1/temperature).", min=0.05)
    ] = 1.0,
    processes: Annotated[
        int | None, typer.Option(help="Simulators at once. Default: one for each core.", min=1)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Table to write. Default: that of --data.", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Let the agent play train variations with sampled decisions, and add its shortest solved episodes. Resumes."""
    trained = training_world(world)
    own = trained.self_play()
    data, checkpoints = data or trained.data, checkpoints or trained.checkpoints
    before, used = read_manifest(data), trained.corrections().checkpoints_used(checkpoints, agent)
    target = output or data
    require_writable_file(target, "output" if output else "data")
    now = {"rollouts": rollouts, "variations": variations, "temperature": temperature, "rules": rules, **used}
    every = [path for path in read_table(data) if not own.is_own(path)]
    names = [*(sha256[:8] for sha256 in used.values()), str(rollouts), str(variations), f"{temperature:g}", rules]
    parts = Path(f"build/trajectories/self-play-{'-'.join(names)}.jsonl")
    wanted = own.plan(
        every, rollouts, variations, checkpoints, agent, temperature=temperature, without_rules=rules == "none"
    )
    with progress_bar() as bar:
        task = bar.add_task("variations", total=len(wanted))
        for done, total in collect(wanted, parts, processes or available_cores(), own.play, trained.world):
            bar.update(task, completed=done, total=total)
    settings = before["settings"] | {"self_play": now}
    rows = chain(map(asdict, every), read_parts(parts))
    manifest = write_table(rows, target, settings, trained.world, before["failed"], before)
    found = manifest["trajectories"] - len(every)
    console.print(f"{found} solved episodes; annotate them next: python -m training annotate")


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
