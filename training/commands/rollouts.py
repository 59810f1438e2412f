"""`corrections` and `self-play`: an agent plays train variations, and what comes of it becomes training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from training.commands.common_options import DataOption, ProcessesOption, WorldOption
from training.commands.console import console, progress_bar
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
from training.user_files import require_writable_file
from training.worlds.base import TrainedAgent
from training.worlds.registry import training_world
from waymark.commands.options import finite
from waymark.operating_system.cpu_cores import available_cores
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
class _Extension:
    """A table of trajectories that gets what an agent plays."""

    world: World
    table: Path
    """The table that is written."""
    paths: list[Trajectory]
    """Those of the table that is extended."""
    before: dict[str, Any]
    """Its manifest."""
    checkpoints: Path
    used: dict[str, str]
    """Role to the hash of its checkpoint."""

    def parts(self, kind: str, *settings: object) -> Path:
        """Where finished variations are kept: a file for each agent and each choice of settings."""
        names = [kind, *(sha256[:8] for sha256 in self.used.values()), *map(str, settings)]
        return Path(f"build/trajectories/{'-'.join(names)}.jsonl")

    def play(
        self,
        wanted: Sequence[Wanted],
        record: Record,
        parts: Path,
        processes: int | None,
        unit: str,
    ) -> Iterator[dict[str, Any]]:
        """Play what is not played yet, behind a bar that counts `unit`. Returns the rows of all that was played."""
        with progress_bar() as bar:
            task = bar.add_task(unit, total=len(wanted))
            for done, total in collect(wanted, parts, processes or available_cores(), record, self.world):
                bar.update(task, completed=done, total=total)
        return read_parts(parts)

    def write(self, kept: Sequence[Trajectory], rows: Iterable[dict[str, Any]], settings: dict[str, Any]) -> int:
        """Write the paths that are kept and the rows. Returns how many paths were added."""
        before = self.before
        all_rows, all_settings = chain(map(asdict, kept), rows), before["settings"] | settings
        manifest = write_table(all_rows, self.table, all_settings, self.world, before["failed"], before)
        return int(manifest["trajectories"]) - len(kept)


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
    """Add solutions that start where the agent went astray.

    The agent plays train variations to find these places. Resumes where it was stopped.
    """
    dagger = training_world(world).corrections()
    extension = _extend(world, checkpoints, agent, output, data)
    without_rules = rules == "none"
    now = {
        "rollouts": rollouts,
        "misplaced": misplaced,
        **({"rules": rules} if without_rules else {}),
        **extension.used,
    }
    rounds = [] if afresh else extension.before["settings"].get("corrections", [])
    if rounds and now.items() <= rounds[-1].items():
        rounds = rounds[:-1]
    kept = [path for path in extension.paths if path.take < dagger.first_take(len(rounds))]
    wanted = dagger.plan(kept, rollouts, misplaced, extension.checkpoints, agent, without_rules=without_rules)
    parts = extension.parts("corrections", rollouts, misplaced, *(["no-rules"] if without_rules else []))
    rows = dagger.numbered(extension.play(wanted, dagger.correct, parts, processes, "episodes"), len(rounds))
    added = extension.write(kept, rows, {"corrections": [*rounds, now]})
    console.print(f"{added} corrections; annotate them next: python -m training annotate")


def self_play(
    world: WorldOption = DEFAULT_WORLD,
    checkpoints: PlayerCheckpointsOption = None,
    agent: Annotated[TrainedAgent, typer.Option(help="Agent that plays.")] = "hierarchical",
    rules: RulesOption = "none",
    rollouts: Annotated[int, typer.Option(help="Episodes of each variation.", min=1)] = 4,
    variations: Annotated[int, typer.Option(help="Largest number of train variations of each task.", min=1)] = 20,
    temperature: Annotated[
        float, typer.Option(callback=finite, help="Decisions are sampled with probability p^(1/temperature).", min=0.05)
    ] = 1.0,
    processes: ProcessesOption = None,
    output: ExtendedTableOption = None,
    data: DataOption = None,
) -> None:
    """Add the shortest episodes that the agent solved itself.

    The agent plays train variations with sampled decisions. Resumes where it was stopped.
    """
    own = training_world(world).self_play()
    extension = _extend(world, checkpoints, agent, output, data)
    now = {"rollouts": rollouts, "variations": variations, "temperature": temperature, "rules": rules, **extension.used}
    kept = [path for path in extension.paths if not own.is_own(path)]
    wanted = own.plan(
        kept,
        rollouts,
        variations,
        extension.checkpoints,
        agent,
        temperature=temperature,
        without_rules=rules == "none",
    )
    parts = extension.parts("self-play", rollouts, variations, f"{temperature:g}", rules)
    rows = extension.play(wanted, own.play, parts, processes, "variations")
    added = extension.write(kept, rows, {"self_play": now})
    console.print(f"{added} solved episodes; annotate them next: python -m training annotate")


def _extend(
    world: str, checkpoints: Path | None, agent: TrainedAgent, output: Path | None, data: Path | None
) -> _Extension:
    """The table to extend. Raises InvalidInput and CheckpointError, before anything is played."""
    from training.local_agent import checkpoints_used

    trained = training_world(world)
    data, checkpoints = data or trained.data, checkpoints or trained.checkpoints
    before, used = read_manifest(data), checkpoints_used(checkpoints, agent)
    require_writable_file(output or data, "output" if output else "data")
    return _Extension(trained.world, output or data, read_table(data, trained.world), before, checkpoints, used)
