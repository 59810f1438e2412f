"""Options that several training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.datasets import ControllerExamples, Sampling
from waymark.contracts import Role
from waymark.tasks import SPLITS, Split

DATA = Path("data/trajectories.parquet")
ANNOTATIONS = Path("data/annotations.parquet")
CHECKPOINTS = Path("checkpoints")

SamplingOption = Annotated[
    Sampling, typer.Option(help="Train variations: all that were recorded, or those that were published.")
]
AsPublishedOption = Annotated[
    bool,
    typer.Option("--as-published", help="Byte for byte the published data, which differ from what is served."),
]
ControllerOption = Annotated[
    ControllerExamples,
    typer.Option("--controller", help="A controller's examples: where a sub-goal begins, or every step as published."),
]
FlatEndsOption = Annotated[
    bool, typer.Option("--flat-ends", help="With --as-published, for role flat: with ended sub-goals as steps.")
]
FORMAT_HELP = (
    "Prompt format, e.g. compact or seed. Default: compact; with --as-published seed, "
    "and seed-imported for the controller."
)


def default_format(role: Role, *, as_published: bool) -> str:
    """The prompt format of a dataset whose command names none."""
    if not as_published:
        return "compact"
    return "seed-imported" if role == "controller" else "seed"


def role_named(text: str) -> Role:
    """The role of that name. Raises typer.BadParameter."""
    if text not in get_args(Role):
        raise typer.BadParameter(f"{text!r} is no role; roles are {', '.join(get_args(Role))}.")
    return cast(Role, text)


def split_named(text: str) -> Split:
    """The split of that name. Raises typer.BadParameter."""
    if text not in SPLITS:
        raise typer.BadParameter(f"{text!r} is no split; splits are {', '.join(SPLITS)}.")
    return text


def progress_bar(console: Console) -> Progress:
    """A bar with how many are done and the time that is left."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
