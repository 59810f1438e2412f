"""Export: from a run, or any model folder, to a checkpoint that the services load, with card and CTranslate2 form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from training.base_models import read_config, require_supported
from training.recipe import Recipe, make_recipe, recipe_sha256
from training.run_state import building
from training.selection import DEV_SCORES
from training.shards import put_weights, require_finite
from training.user_files import read_json, require_writable_folder
from waymark.contracts import Role
from waymark.errors import InvalidInput, WaymarkError
from waymark.evaluation.git_checkout import short_commit
from waymark.inference.checkpoint import (
    CARD,
    WEIGHTS,
    CheckpointCard,
    Training,
    architecture_of,
    load,
    write_card,
)
from waymark.inference.engines.ctranslate2 import CONVERTIBLE, convert_to_ctranslate2
from waymark.inference.weight_shapes import count_parameters
from waymark.worlds.registry import get_format

_SHIPPED = ("config.json", "tokenizer.json", "tokenizer_config.json")
"""Beside the weights. The last only for causal models: vLLM asks for it."""


def export(
    run: Path,
    output: Path,
    *,
    role: Role,
    prompt_format: str,
    command: str,
    data_sha256: str,
    base_sha256: str = "",
    annotations_sha256: str = "",
) -> CheckpointCard:
    """Write the best checkpoint of a run as `output` and verify it; int8 CTranslate2 weights beside it, if it can.

    Replaces what is at `output` only once everything is written. Raises InvalidInput for a run without
    a best checkpoint, TrainingDiverged for weights that are not finite, CheckpointError if the result does not verify.
    """
    best = run / "best"
    if not best.is_dir():
        raise InvalidInput(
            f"{run} holds no run that was evaluated.",
            remedy=f"Train it first: python -m training finetune {role} --run {run}",
            field="run",
        )
    known = {field.name for field in fields(Recipe)}  # an older run may have others
    read = read_json(run / "recipe.json", "the recipe of a run")
    values = {name: value for name, value in read.items() if name in known}
    recipe = make_recipe(values, str(run / "recipe.json"), is_base_needed=False)
    chosen = _dev_scores(run)

    def card_of(folder: Path) -> CheckpointCard:
        return CheckpointCard(
            name=f"waymark-{output.name}",
            role=role,
            architecture=recipe.architecture,
            prompt_format=prompt_format,
            parameters=count_parameters(folder / WEIGHTS),
            max_input_tokens=recipe.max_input_tokens,
            max_new_tokens=recipe.max_new_tokens,
            created=datetime.now(UTC).date().isoformat(),
            training=Training(
                command=command,
                commit=short_commit(),
                data_sha256=data_sha256,
                base_sha256=base_sha256,
                annotations_sha256=annotations_sha256,
                recipe_sha256=recipe_sha256(recipe),
                seed=recipe.seed,
                steps=int(chosen.pop("step")),
                recipe=values,
                dev={name: round(value, 4) for name, value in chosen.items()},
            ),
            files={},
        )

    return _publish(best, output, card_of, "int8")


def convert(
    folder: Path,
    output: Path,
    *,
    role: Role | None,
    prompt_format: str | None,
    max_input_tokens: int,
    max_new_tokens: int,
    quantization: str,
) -> CheckpointCard:
    """Write a model folder (config.json, tokenizer.json, safetensors) as a checkpoint, verified, to `output`.

    Weights are model.safetensors, or shards with their index. What the model was trained for is said by its card, or
    by the arguments if it has none. `quantization` is of the weights for CTranslate2. Replaces what is at `output`
    only once everything is written. Raises InvalidInput, CheckpointError, TrainingDiverged.
    """
    require_supported(read_config(folder), str(folder))
    if (folder / CARD).exists():
        card = load(folder, role).card
        return _publish(folder, output, lambda _: card, quantization)
    if role is None or prompt_format is None:
        raise InvalidInput(
            f"{folder} has no {CARD} that says what it was trained for.",
            remedy="Name both: --role ROLE --format FORMAT.",
            field="role" if role is None else "format",
        )
    name, architecture, checked_format = folder.resolve().name, architecture_of(folder), get_format(prompt_format).name

    def card_of(staging: Path) -> CheckpointCard:
        return CheckpointCard(
            name=name,
            role=role,
            architecture=architecture,
            prompt_format=checked_format,
            parameters=count_parameters(staging / WEIGHTS),
            max_input_tokens=max_input_tokens,
            max_new_tokens=max_new_tokens,
            created=datetime.now(UTC).date().isoformat(),
            training=Training(
                command="", commit=None, data_sha256="", seed=0, steps=0, recipe={}, dev={}
            ),  # trained elsewhere
            files={},
        )

    return _publish(folder, output, card_of, quantization)


def require_replaceable(output: Path, source: Path) -> None:
    """Raise InvalidInput where a checkpoint cannot be put: over other files, or over the model that it is made from."""
    if source.resolve().is_relative_to(output.resolve()):
        raise InvalidInput(
            "Output and model are the same folder."
            if output.resolve() == source.resolve()
            else f"The output {output} holds the model {source}, which it would replace.",
            remedy="Name another output folder.",
            field="output",
        )
    if output.is_dir() and any(output.iterdir()) and not (output / CARD).is_file():
        raise InvalidInput(
            f"The output {output} holds files that are no checkpoint.", remedy="Name a new folder.", field="output"
        )
    require_writable_folder(output, "output")


def _publish(
    source: Path, output: Path, card_of: Callable[[Path], CheckpointCard], quantization: str
) -> CheckpointCard:
    """Put a model's files, its converted weights and its card at `output`, all or nothing."""
    require_replaceable(output, source)
    with building(output) as staging:
        try:
            for name in _SHIPPED:
                if (source / name).exists():
                    shutil.copyfile(source / name, staging / name)
            put_weights(source, staging)
            require_finite(staging / WEIGHTS)
            if read_config(source).get("model_type") in CONVERTIBLE:
                convert_to_ctranslate2(staging, staging / "ctranslate2", quantization)
            write_card(staging, card_of(staging))
            return load(staging).card
        except WaymarkError as error:
            error.message = error.message.replace(str(staging), str(source))
            raise


def _dev_scores(run: Path) -> dict[str, float]:
    """Step and dev scores of a run's best weights, as a card names them."""
    kept = run / "best" / DEV_SCORES
    if kept.is_file():
        scores = read_json(kept, "the dev scores of a run")
        by_verb = {f"exact_match/{verb}": float(share) for verb, share in scores["by_verb"].items()}
        names = [name for name in ("step", "exact_match", "loss", "majority") if name in scores]
        return {name: float(scores[name]) for name in names} | by_verb
    # In a run of an older version, the best weights are those of the first row with the highest exact match.
    try:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        best = max((row for row in rows if "dev_exact_match" in row), key=lambda row: float(row["dev_exact_match"]))
        return {"step": best["step"], "exact_match": best["dev_exact_match"], "loss": best["dev_loss"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidInput(
            f"{run / 'metrics.jsonl'} holds no scores of the run's best weights.",
            remedy="Train the run again, or convert its best/ folder: python -m training convert.",
            field="run",
        ) from error
