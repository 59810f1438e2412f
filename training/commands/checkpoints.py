"""`export` and `convert`: checkpoints that the services load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.common_options import DataOption, FormatOption, RoleArgument, WorldOption, known_format
from training.commands.console import say
from training.worlds.registry import training_world
from waymark.contracts import Role
from waymark.inference.checkpoint import MOST_INPUT_TOKENS, MOST_NEW_TOKENS
from waymark.worlds.registry import DEFAULT_WORLD


def export(
    role: RoleArgument,
    world: WorldOption = DEFAULT_WORLD,
    run: Annotated[
        Path | None, typer.Option(help="Run folder. Default: the world's; for ScienceWorld build/runs/ROLE.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Checkpoint folder. Default: the world's; for ScienceWorld checkpoints/ROLE.")
    ] = None,
    prompt_format: FormatOption = None,
    data: DataOption = None,
) -> None:
    """Make a checkpoint of the best weights of a training run.

    It is for the services: card, safetensors, CTranslate2 int8.
    """
    from training.export import export as export_run
    from training.run_origin import read_origin, require_same_purpose
    from training.trajectories import read_manifest

    trained = training_world(world)
    source = run or trained.runs / role
    prompt_format = prompt_format or trained.default_format(role, as_published=False)
    require_same_purpose(source, role, prompt_format)
    origin = read_origin(source)
    card = export_run(
        source,
        output or trained.checkpoints / role,
        role=role,
        prompt_format=prompt_format,
        command=origin.command if origin else f"python -m training finetune {role} --recipe {source}/recipe.json",
        data_sha256=origin.data_sha256 if origin else read_manifest(data or trained.data)["sha256"],
        base_sha256=origin.base_sha256 if origin else "",
        annotations_sha256=origin.annotations_sha256 if origin else "",
    )
    dev = ", ".join(f"{name} {value}" for name, value in card.training.dev.items() if "/" not in name)
    say(f"{card.name}: {card.parameters / 1e6:.2f} M parameters, dev {dev}")


def convert(
    folder: Annotated[
        Path, typer.Argument(help="Model folder: config.json, tokenizer.json, safetensors (shards too).")
    ],
    output: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    role: Annotated[Role | None, typer.Option(help="Role that the model was trained for. Default: the card's.")] = None,
    prompt_format: Annotated[
        str | None, typer.Option("--format", callback=known_format, help="Prompt format. Default: the card's.")
    ] = None,
    max_input_tokens: Annotated[
        int,
        typer.Option(
            help="Length in tokens at which prompts are cut, for a model without a card.", min=3, max=MOST_INPUT_TOKENS
        ),
    ] = 1024,
    max_new_tokens: Annotated[
        int,
        typer.Option(
            help="Largest length of an answer in tokens, for a model without a card.", min=1, max=MOST_NEW_TOKENS
        ),
    ] = 30,
    quantization: Annotated[
        str, typer.Option(help="Number type of the weights for CTranslate2: for example int8 or float32.")
    ] = "int8",
) -> None:
    """Make a checkpoint of any fine-tuned T5 or Llama.

    It is for the services, and converted for CTranslate2.
    """
    from training.export import convert as convert_folder

    card = convert_folder(
        folder,
        output,
        role=role,
        prompt_format=prompt_format,
        max_input_tokens=max_input_tokens,
        max_new_tokens=max_new_tokens,
        quantization=quantization,
    )
    say(f"{output}: {card.role}, {card.architecture}, {card.parameters / 1e6:.2f} M parameters")
