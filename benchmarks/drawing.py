"""What drawing and changing training examples costs, beside the update that learns from them.

    python -m benchmarks.drawing [--role controller] [--recipe training/recipes/small.json] [--every 8]

Draws the first batches of a run of this recipe, drills among them, from a part of the repository's trajectories, and
then trains a fresh model on the first of them. Both are CPU time of this process, which other work on the machine
disturbs least: a model's threads count each. The last figure is the share of a run on a CPU that drawing takes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.machine import describe, figures
from training.annotations import read_annotations
from training.batches import Batches
from training.finetune import Run
from training.load_examples import Wording
from training.recipe import read_recipe
from training.trajectories import read_table
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.worlds.registry import DEFAULT_WORLD

_DRAWN_TOGETHER = 32
"""Batches that `Batches` draws at once."""


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds that something takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main(
    role: Annotated[Role, typer.Option(help="Role whose examples are drawn.")] = "controller",
    recipe: Annotated[Path | None, typer.Option(help="Recipe. Default: the world's.")] = None,
    every: Annotated[int, typer.Option(help="Take each Nth trajectory.", min=1)] = 8,
    chunks: Annotated[int, typer.Option(help="Times that 32 batches are drawn.", min=1)] = 3,
    updates: Annotated[int, typer.Option(help="Updates that are trained.", min=1)] = 5,
) -> None:
    """Draw, train and print."""
    console = Console(highlight=False)
    world = training_world(DEFAULT_WORLD)
    settings = read_recipe(recipe or world.recipe, role, steps=updates, epochs=0.0, evaluate_every=updates + 1)
    paths = [path for path in read_table(world.data) if path.split == "train"][::every]
    wording = Wording(role, world.default_format(role, as_published=False))
    corpus = wording.examples(paths, read_annotations(world.annotations))
    batches = Batches(corpus, settings)
    drawn = _DRAWN_TOGETHER * (1 + settings.drills)
    draws = [seconds(lambda chunk=chunk: batches[chunk * drawn]) / drawn for chunk in range(chunks + 1)][1:]  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), settings, corpus, corpus[:1])
        steps = run.train()
        trained = [seconds(lambda: next(steps)) for _ in range(updates)][1:]
    draw, update = statistics.median(draws), statistics.median(trained)
    table = figures("of a batch", "CPU ms", "examples a CPU second")
    table.add_row("drawn", f"{1_000 * draw:.1f}", f"{settings.batch / draw:,.0f}")
    table.add_row(
        "trained on",
        f"{1_000 * update / settings.accumulate:.0f}",
        f"{settings.batch * settings.accumulate / update:,.0f}",
    )
    console.print(describe("torch").line(), soft_wrap=True)
    console.print(
        f"{role}, {len(corpus):,} examples, batches of {settings.batch}, {settings.drills} of drills for each"
    )
    console.print(table)
    console.print(f"drawing takes {draw / (draw + update / settings.accumulate):.1%} of a run's CPU time")


if __name__ == "__main__":
    typer.run(main)
