"""`corrections` and `self-play`: an agent plays train variations, and what comes of it becomes training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from training.commands.shared import DataOption, ProcessesOption, WorldOption, console, progress_bar
from training.files import require_writable_file
from training.trajectories import (
    Record,
    Trajectory,
    Wanted,
    collect,
    read_manifest,
    read_parts,
    read_table,
    write_table,
)
from training.worlds.base import TrainedAgent
from training.worlds.registry import training_world
from waymark.process import available_cores
from waymark.worlds.base import World
from waymark.worlds.registry import DEFAULT_WORLD

PlayerCheckpointsOption = Annotated[
    Path | None,
    typer.Option("--checkpoints", help="Folder with controller and executor, or flat. Default: those that ship."),
]
Rules = Literal["all", "none"]
RulesOption = Annotated[Rules, typer.Option(help="Rules of play of that agent.")]
ExtendedTableOption = Annotated[
    Path | None, typer.Option("--output", help="Table to write. Default: that of --data.", show_default=False)
]


@dataclass(frozen=True)
class _Rollouts:
    """Variations to play, and the table that gets what comes of them."""

    unit: str
    """What the bar counts."""
    wanted: Sequence[Wanted]
    record: Record
    parts: Path
    """Finished variations."""
    before: dict[str, Any]
    """The manifest of the table that is extended."""
    kept: Sequence[Trajectory]
    """The paths of that table that stay."""
    settings: dict[str, Any]
    """What the new manifest says of these rollouts."""


def corrections(
    world: WorldOption = DEFAULT_WORLD,
    checkpoints: PlayerCheckpointsOption = None,
    agent: Annotated[TrainedAgent, typer.Option(help="Agent that plays and is corrected.")] = "hierarchical",
    rules: RulesOption = "all",
    rollouts: Annotated[int, typer.Option(help="Episodes of each task.", min=1)] = 20,
    misplaced: Annotated[int, typer.Option(help="Episodes of each task that allows a thing to be moved.", min=1)] = 56,
    processes: ProcessesOption = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="Leave out the corrections of earlier agents.")] = False,
    output: ExtendedTableOption = None,
    data: DataOption = None,
) -> None:
    """Let the agent play train variations, and add solutions from where it goes astray. Resumes."""
    from training.local_agent import checkpoints_used

    trained = training_world(world)
    dagger = trained.corrections()
    data, checkpoints = data or trained.data, checkpoints or trained.checkpoints
    before, used = read_manifest(data), checkpoints_used(checkpoints, agent)
    table = _table(output, data)
    now = {"rollouts": rollouts, "misplaced": misplaced, **({"rules": rules} if rules != "all" else {}), **used}
    rounds = [] if afresh else before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    kept = [path for path in read_table(data) if path.take < dagger.first_take(len(rounds))]
    names = [*(sha256[:8] for sha256 in used.values()), str(rollouts), str(misplaced)]
    names += ["no-rules"] if rules == "none" else []
    wanted = dagger.plan(kept, rollouts, misplaced, checkpoints, agent, without_rules=rules == "none")
    parts = Path(f"build/trajectories/corrections-{'-'.join(names)}.jsonl")
    settings = {"corrections": [*rounds, now]}
    played = _Rollouts("episodes", wanted, dagger.correct, parts, before, kept, settings)
    new = _play(played, table, trained.world, processes, lambda rows: dagger.numbered(rows, len(rounds)))
    console.print(f"{new} corrections; annotate them next: python -m training annotate")


def self_play(
    world: WorldOption = DEFAULT_WORLD,
    checkpoints: PlayerCheckpointsOption = None,
    agent: Annotated[TrainedAgent, typer.Option(help="Agent that plays.")] = "hierarchical",
    rules: RulesOption = "none",
    rollouts: Annotated[int, typer.Option(help="Episodes of each variation.", min=1)] = 4,
    variations: Annotated[int, typer.Option(help="Train variations of each task at most.", min=1)] = 20,
    temperature: Annotated[float, typer.Option(help="Decisions are drawn with p^(1/temperature).", min=0.05)] = 1.0,
    processes: ProcessesOption = None,
    output: ExtendedTableOption = None,
    data: DataOption = None,
) -> None:
    """Let the agent play train variations with sampled decisions, and add its shortest solved episodes. Resumes."""
    from training.local_agent import checkpoints_used

    trained = training_world(world)
    own = trained.self_play()
    data, checkpoints = data or trained.data, checkpoints or trained.checkpoints
    before, used = read_manifest(data), checkpoints_used(checkpoints, agent)
    table = _table(output, data)
    now = {"rollouts": rollouts, "variations": variations, "temperature": temperature, "rules": rules, **used}
    kept = [path for path in read_table(data) if not own.is_own(path)]
    names = [*(sha256[:8] for sha256 in used.values()), str(rollouts), str(variations), f"{temperature:g}", rules]
    wanted = own.plan(
        kept, rollouts, variations, checkpoints, agent, temperature=temperature, without_rules=rules == "none"
    )
    parts = Path(f"build/trajectories/self-play-{'-'.join(names)}.jsonl")
    played = _Rollouts("variations", wanted, own.play, parts, before, kept, {"self_play": now})
    new = _play(played, table, trained.world, processes)
    console.print(f"{new} solved episodes; annotate them next: python -m training annotate")


def _table(output: Path | None, data: Path) -> Path:
    """The table to write. Raises InvalidInput if that is impossible."""
    table = output or data
    require_writable_file(table, "output" if output else "data")
    return table


def _play(
    rollouts: _Rollouts,
    table: Path,
    world: World,
    processes: int | None,
    renumber: Callable[[Iterable[dict[str, Any]]], Iterable[dict[str, Any]]] = iter,
) -> int:
    """Play what is not played yet and write the table. Returns how many paths were added; `renumber` changes takes."""
    with progress_bar() as bar:
        task = bar.add_task(rollouts.unit, total=len(rollouts.wanted))
        cores = processes or available_cores()
        for done, total in collect(rollouts.wanted, rollouts.parts, cores, rollouts.record, world):
            bar.update(task, completed=done, total=total)
    before = rollouts.before
    rows = chain(map(asdict, rollouts.kept), renumber(read_parts(rollouts.parts)))
    manifest = write_table(rows, table, before["settings"] | rollouts.settings, world, before["failed"], before)
    return int(manifest["trajectories"]) - len(rollouts.kept)
