"""`datasets`, `folds` and `score`: training examples, folds of variations, and exact match of checkpoints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.commands.common_options import (
    AnnotationsOption,
    AsPublishedOption,
    ControllerOption,
    DataOption,
    FlatEndsOption,
    FormatOfRoleOption,
    FormatOption,
    RequireAllOption,
    RoleArgument,
    SamplingOption,
    WorldOption,
    known_format,
)
from training.commands.console import console, progress_bar, say
from training.datasets import MANIFEST, write_dataset
from training.load_examples import Wording, by_fold, read_annotated, read_corpora
from training.trajectories import Trajectory, read_manifest, read_table
from training.user_files import require_writable_folder
from training.worlds.base import PUBLISHED_SEED
from training.worlds.registry import find_task, training_world
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.inference.open_engine import Engine
from waymark.worlds.registry import DEFAULT_WORLD
from waymark.worlds.without_history import without_history


def datasets(
    role: RoleArgument,
    world: WorldOption = DEFAULT_WORLD,
    output: Annotated[Path | None, typer.Option(help="Folder to write. Default: build/datasets/ROLE-FORMAT.")] = None,
    prompt_format: FormatOfRoleOption = None,
    as_published: AsPublishedOption = False,
    controller: ControllerOption = "on-end",
    flat_ends: FlatEndsOption = False,
    history: Annotated[
        bool, typer.Option(help="Show earlier turns. --no-history uses the format FORMAT-nohistory.")
    ] = True,
    sampling: SamplingOption = "all",
    seed: Annotated[int, typer.Option(help="Seed of the published sampling.")] = PUBLISHED_SEED,
    tokenizer: Annotated[
        str,
        typer.Option(help="Model folder or hub name of the tokenizer that counts tokens. Default: the recipe's base."),
    ] = "",
    recipe: Annotated[Path | None, typer.Option(help="Recipe with the token limits. Default: the world's.")] = None,
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    require_all: RequireAllOption = False,
) -> None:
    """Write one role's prompts and targets as Parquet files.

    There is one file per split, and a description. Test variations are refused.
    """
    from training.base_models import require_base
    from training.recipe import read_recipe

    trained = training_world(world)
    data, annotations = data or trained.data, annotations or trained.annotations
    settings = read_recipe(recipe or trained.recipe, **({"base": tokenizer} if tokenizer else {}))
    prompt_format = prompt_format or trained.default_format(role, as_published=as_published)
    name = prompt_format if history else str(known_format(without_history(prompt_format)))
    wording = Wording(role, name, as_published, controller, flat_ends, world)
    folder = output or Path("build/datasets") / f"{role}-{name}"
    require_writable_folder(folder, "output")
    require_base(settings)
    read = read_corpora(
        wording, data, annotations, sampling, seed, require_all=require_all, note=say, bar=progress_bar()
    )
    corpora = read.examples

    from training.dataset_statistics import describe as count
    from training.dataset_statistics import shown
    from training.model import open_tokenizer, open_tokens

    with progress_bar() as bar:
        train = bar.track(corpora["train"], description="tokenizer") if not settings.base else corpora["train"]
        pieces = open_tokenizer(settings, (text for example in train for text in (example.prompt, example.target)))
        limits = {"max_input_tokens": settings.max_input_tokens, "max_new_tokens": settings.max_new_tokens}
        task = bar.add_task("counting", total=sum(map(len, corpora.values())))
        counted = count(corpora, open_tokens(settings, pieces), **limits, advance=lambda: bar.advance(task))
    about = {
        "role": role,
        "prompt_format": name,
        "as_published": as_published,
        "controller": controller,
        "flat_ends": flat_ends,
        "data_sha256": read_manifest(data)["sha256"],
        "paths_without_annotation": read.left_out,
        "sampling": sampling,
        "seed": seed,
        "tokenizer": settings.base or f"learnt, {pieces.get_vocab_size()} pieces",
        **limits,
    }
    write_dataset(folder, corpora, about | asdict(counted))
    console.print(*shown(counted), sep="\n")
    console.print(f"{folder}: {', '.join(f'{split}.parquet' for split in corpora)}, {MANIFEST}")


def folds(world: WorldOption = DEFAULT_WORLD, data: DataOption = None) -> None:
    """Print the things of each fold, by task type, as Markdown.

    The folds are those of the training variations.
    """
    trained = training_world(world)
    typer.echo(trained.fold_table(read_table(data or trained.data, trained.world)))


def score(
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(help="Checkpoint or run folders. Default: those that ship.")
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="Role of runs that recorded none. Default: the role with which their folder's name begins."),
    ] = None,
    world: WorldOption = DEFAULT_WORLD,
    prompt_format: FormatOption = None,
    engine: Annotated[
        Engine, typer.Option(envvar="WAYMARK_ENGINE", help="Engine that runs the models.")
    ] = "ctranslate2",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    data: DataOption = None,
    annotations: AnnotationsOption = None,
    require_all: RequireAllOption = False,
    fold: Annotated[
        int | None, typer.Option(help="Score on the training variations of this fold (0, 1 or 2) instead of dev.")
    ] = None,
) -> None:
    """Measure exact match on dev, or on a fold, by task.

    For an executor it is also measured with the sub-goals of a controller.
    """
    from training.offline_score import opened, table
    from training.offline_score import score as score_all

    trained = training_world(world)
    data, annotations = data or trained.data, annotations or trained.annotations
    if fold is not None:
        trained.check_fold(fold)
    form = prompt_format or trained.default_format("controller", as_published=False)
    sources = checkpoints or trained.shipped_checkpoints()
    if not sources:
        raise InvalidInput(
            f"The folder {trained.checkpoints} holds no checkpoints.", remedy="Name their folders.", field="checkpoints"
        )

    def on_dev(paths: Sequence[Trajectory]) -> list[Trajectory]:
        if fold is not None:
            return by_fold(paths, fold)["dev"]
        chosen = [path for path in paths if find_task(path.task_id).split_of(path.variation) == "dev"]
        if not chosen:
            raise InvalidInput(f"{data} holds no dev paths.", remedy="Record some: python -m training trajectories.")
        return chosen

    paths, named, left_out = read_annotated(
        trained.world, data, annotations, require_all=require_all, note=say, chosen=on_dev
    )
    with opened(sources, engine, role=role, prompt_format=form) as contestants, progress_bar() as bar:
        task = bar.add_task("")

        def show_progress(description: str, done: int, total: int) -> None:
            bar.update(task, description=description, completed=done, total=total)

        scores = score_all(contestants, paths, named, show_progress)
    if as_json:
        facts = {"data_sha256": read_manifest(data)["sha256"], "paths_without_annotation": left_out}
        typer.echo(json.dumps({**facts, "scores": [asdict(measured) for measured in scores]}))
    else:
        Console(markup=False, emoji=False).print(table(scores))
