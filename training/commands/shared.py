"""What several commands share: default paths, options, the progress bar, and reading data with their sub-goals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Final, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.annotate import Annotation, annotated, describe_coverage, read_annotations
from training.datasets import Example, Sampling, check_splits, examples, sample
from training.trajectories import PathKey, Trajectory, read_table
from waymark.contracts import Role
from waymark.errors import CheckpointError, InvalidInput
from waymark.prompts import get_format
from waymark.tasks import Split

RANK: Final = os.environ.get("RANK", "0")
"""This process's number among those that a launcher has started, from 0."""


class _Stderr:
    """Stderr of which nobody may be left to read: a closed pipe or terminal does not end hours of training."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


console: Final = Console(file=cast(IO[str], _Stderr()), quiet=RANK != "0")
"""On stderr; of several processes the first one speaks."""

DATA: Final = Path("data/trajectories.parquet")
ANNOTATIONS: Final = Path("data/annotations.parquet")
RUNS: Final = Path("build/runs")
CHECKPOINTS: Final = Path("checkpoints")
RECIPE: Final = Path("training/recipes/small.json")


def known_format(name: str | None) -> str | None:
    """The name of a prompt format. Raises InvalidInput that lists those there are."""
    try:
        return None if name is None else get_format(name).name
    except CheckpointError as error:
        known = error.remedy.removeprefix("This version knows ").partition(";")[0]
        raise InvalidInput(f"Unknown prompt format {name!r}.", remedy=f"Use one of {known}.", field="format") from error


RoleArgument = Annotated[Role, typer.Argument(help="Which model: controller, executor, flat or first.")]
DataOption = Annotated[Path, typer.Option("--data", help="Table of trajectories.")]
AnnotationsOption = Annotated[Path, typer.Option("--annotations", help="Table of their sub-goals.")]
FormatOption = Annotated[
    str, typer.Option("--format", callback=known_format, help="Prompt format: compact, seed, transcript, …")
]
RequireAllOption = Annotated[bool, typer.Option("--require-all", help="Refuse data of which a path has no annotation.")]


def progress_bar() -> Progress:
    """A bar on stderr with the time left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def say(text: str) -> None:
    """Print a line to stderr as it is, without markup, colours or line breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Corpora:
    """One role's examples by split, and how many paths are not in them because they have no annotation."""

    examples: dict[Split, list[Example]]
    left_out: int


def read_annotated(
    data: Path,
    annotations: Path,
    *,
    require_all: bool,
    chosen: Callable[[Sequence[Trajectory]], Sequence[Trajectory]] = lambda paths: paths,
) -> tuple[list[Trajectory], dict[PathKey, Annotation], int]:
    """The chosen trajectories that are annotated, all annotations, and how many were left out; says if some were.

    Raises InvalidInput for files that are missing, damaged or do not belong together.
    """
    say(f"Reading {data} and {annotations} …")
    every = read_table(data)
    named = read_annotations(annotations)
    if told := describe_coverage(every, named):
        say(told)
    paths = chosen(every)
    kept = annotated(paths, named, require_all=require_all)
    return kept, named, len(paths) - len(kept)


def read_corpora(
    role: Role,
    prompt_format: str,
    data: Path,
    annotations: Path,
    *,
    sampling: Sampling,
    seed: int,
    require_all: bool,
) -> Corpora:
    """One role's examples of the train and dev variations. Raises InvalidInput, for a leak too."""
    paths, named, left_out = read_annotated(
        data, annotations, require_all=require_all, chosen=lambda every: sample(every, sampling, seed)
    )
    writer = get_format(prompt_format)
    splits: tuple[Split, ...] = ("train", "dev")
    corpora = {}
    with progress_bar() as bar:
        for split in splits:
            chosen = [one for one in paths if one.split == split]
            corpora[split] = examples(bar.track(chosen, description=f"{split} examples"), named, role, writer)
    check_splits(corpora)
    return Corpora(corpora, left_out)
