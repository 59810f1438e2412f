"""Which actions let time pass, and what they cost: moves of the simulator until a heated substance has changed.

    python -m benchmarks.ticks

An agent that waits for a substance to melt or a plant to grow pays for each wait: `wait1` costs two moves, and an
episode has 100. The path of a training variation is replayed up to where the substance is being heated or cooled. Then
one action is repeated until what is in sight has changed (`look around`, which costs nothing and lets no time pass,
shows it). The table says after how many repetitions and moves that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.machine import describe, figures
from training.trajectories import Trajectory, read_table
from waymark.worlds.base import Environment, EnvironmentLimits
from waymark.worlds.registry import get_world

MOST: Final = 40
"""Repetitions after which an action is taken for one that lets no time pass."""
WAITS: Final = (
    "wait1",
    "wait",
    "look around",
    "inventory",
    "task",
    "look at agent",
    "examine agent",
    "look in agent",
    "examine air",
    "no such action",
)
"""`look around`, `inventory` and `task` cost no move; the simulator does not know the last one."""
_TASKS: Final = ("1-1", "1-2", "1-3")
_WORLD: Final = get_world("scienceworld")


@dataclass(frozen=True)
class Change:
    """What an action did when it was repeated."""

    repetitions: int | None
    """After which something had changed; None: nothing had after `MOST`."""
    moves: int
    """That they cost."""


def until_heated(path: Trajectory) -> list[str] | None:
    """The actions of a path before its first wait, which follows heating or cooling; None: it never waits."""
    actions = [step.action for step in path.steps]
    waits = [place for place, action in enumerate(actions) if action.startswith("wait")]
    return actions[: waits[0]] if waits else None


def repeat(slot: Environment, path: Trajectory, before: Sequence[str], action: str) -> Change:
    """Replay a path's beginning and repeat an action until the look has changed in more than its readings."""
    slot.reset(path.task_id, path.variation, path.simplifications)
    for earlier in before:
        step = slot.step(earlier)
    begun, seen = step.moves, _WORLD.agent.without_readings(step.look)
    for number in range(1, MOST + 1):
        step = slot.step(action)
        if _WORLD.agent.without_readings(step.look) != seen:
            return Change(number, step.moves - begun)
    return Change(None, step.moves - begun)


def chosen(paths: Sequence[Trajectory], most: int) -> Iterator[tuple[Trajectory, list[str]]]:
    """The first training paths of the tasks that wait, of different substances."""
    for task in _TASKS:
        seen: set[str] = set()
        for path in paths:
            before = until_heated(path) if (path.task_id, path.split, path.take) == (task, "train", 0) else None
            if before and path.task not in seen and len(seen) < most:
                seen.add(path.task)
                yield path, before


def main(
    data: Annotated[Path, typer.Option(help="Table of trajectories.")] = Path("data/trajectories.parquet"),
    each: Annotated[int, typer.Option(help="Number of substances of each task.", min=1)] = 2,
) -> None:
    """Measure and print."""
    console = Console(highlight=False)
    console.print(describe("scienceworld").line(), soft_wrap=True)
    slot = _WORLD.open(EnvironmentLimits())
    try:
        for path, before in chosen(read_table(data), each):
            table = figures("repeated", "times", "moves")
            for action in WAITS:
                change = repeat(slot, path, before, action)
                times = str(change.repetitions) if change.repetitions else f"none in {MOST}"
                table.add_row(action, times, str(change.moves))
            console.print(f"{path.task_id}/{path.variation} after {before[-1]!r}")
            console.print(table)
    finally:
        slot.close()


if __name__ == "__main__":
    typer.run(main)
