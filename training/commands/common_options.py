"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.datasets import ControllerExamples
from training.worlds.base import Sampling
from training.worlds.registry import TRAINING_WORLDS, training_world
from waymark.contracts import Role
from waymark.errors import CheckpointError, InvalidInput
from waymark.worlds.registry import get_format


def known_world(name: str) -> str:
    """The name of a world that agents are trained for. Raises InvalidInput that lists those there are."""
    return training_world(name).name


def known_format(name: str | None) -> str | None:
    """The name of a prompt format. Raises InvalidInput that lists those there are."""
    try:
        return None if name is None else get_format(name).name
    except CheckpointError as error:
        known = error.remedy.removeprefix("This version knows ").partition(";")[0]
        raise InvalidInput(f"Unknown prompt format {name!r}.", remedy=f"Use one of {known}.", field="format") from error


RoleArgument = Annotated[Role, typer.Argument(help="Role to train: controller, executor, flat or first.")]
WorldOption = Annotated[
    str, typer.Option(callback=known_world, help=f"World to train for: {', '.join(TRAINING_WORLDS)}.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Table of trajectories. Default: the world's; for ScienceWorld data/trajectories.parquet."
    ),
]
AnnotationsOption = Annotated[
    Path | None,
    typer.Option(
        "--annotations", help="Table of sub-goals. Default: the world's; for ScienceWorld data/annotations.parquet."
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        help="Recipe, a JSON file; `finetune --help-recipe` lists its fields. Default: the world's; for "
        "ScienceWorld training/recipes/small.json."
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        callback=known_format,
        help="Prompt format: compact, seed or another. Default: the world's; for ScienceWorld compact.",
        show_default=False,
    ),
]
FormatOfRoleOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        callback=known_format,
        help="Prompt format: compact, seed or another. Default: the world's; for ScienceWorld compact, with "
        "--as-published seed, and seed-imported for the controller.",
        show_default=False,
    ),
]
SamplingOption = Annotated[
    Sampling, typer.Option(help="Train variations to use: all, or those of the publication (published).")
]
AsPublishedOption = Annotated[
    bool,
    typer.Option(
        "--as-published",
        help="Use the published examples, byte for byte. They differ from the prompts that are served.",
    ),
]
ControllerOption = Annotated[
    ControllerExamples,
    typer.Option(
        "--controller", help="Examples of a controller: one where each sub-goal begins (on-end), or one for each step."
    ),
]
FlatEndsOption = Annotated[
    bool, typer.Option("--flat-ends", help="With --as-published and flat: keep ended sub-goals as steps.")
]
ProcessesOption = Annotated[
    int | None, typer.Option(help="Simulators that run at once. Default: one for each core.", min=1)
]
RequireAllOption = Annotated[bool, typer.Option("--require-all", help="Refuse data in which a path has no annotation.")]
