"""Export: from a run, or any model folder, to a checkpoint that the services load, with card and CTranslate2 form."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from waymark.checkpoint import (
    CARD,
    WEIGHTS,
    CheckpointCard,
    Training,
    architecture_of,
    load,
    write_card,
)
from waymark.checkpoint_files import read_object
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.generation.ctranslate2 import CONVERTIBLE, convert_to_ctranslate2
from waymark.prompts import get_format
from waymark.weights import count_parameters

_SHIPPED = ("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")
"""The last only for causal models: vLLM asks for it."""


def export(
    run: Path,
    output: Path,
    *,
    role: Role,
    prompt_format: str,
    command: str,
    data_sha256: str,
    base_sha256: str = "",
) -> CheckpointCard:
    """Write the best checkpoint of a run as `output` and verify it; int8 CTranslate2 weights beside it, if it can.

    Replaces what is at `output` only once everything is written. Raises InvalidInput for a run without
    a best checkpoint, CheckpointError if the result does not verify.
    """
    best = run / "best"
    if not best.is_dir():
        raise InvalidInput(
            f"{run} holds no run that was evaluated.",
            remedy=f"Train it first: python -m training finetune {role} --run {run}",
            field="run",
        )
    recipe = json.loads((run / "recipe.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    chosen = max((row for row in metrics if "dev_exact_match" in row), key=lambda row: row["dev_exact_match"])
    card = CheckpointCard(
        name=f"waymark-{output.name}",
        role=role,
        # Runs from before there was a choice trained encoder-decoders.
        architecture=recipe.get("architecture", "seq2seq"),
        prompt_format=prompt_format,
        parameters=count_parameters(best / WEIGHTS),
        max_input_tokens=recipe["max_input_tokens"],
        max_new_tokens=recipe["max_new_tokens"],
        created=datetime.now(UTC).date().isoformat(),
        training=Training(
            command=command,
            commit=_commit(),
            data_sha256=data_sha256,
            base_sha256=base_sha256,
            seed=recipe["seed"],
            steps=chosen["step"],
            recipe=recipe,
            dev={"exact_match": round(chosen["dev_exact_match"], 4), "loss": round(chosen["dev_loss"], 4)},
        ),
        files={},
    )
    return _publish(best, output, card, "int8")


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
    """Write a model folder (config.json, model.safetensors, tokenizer.json) as a checkpoint, verified, to `output`.

    What it was trained for is said by its card, or by the arguments if it has none. `quantization` is of the weights
    for CTranslate2. Replaces what is at `output` only once everything is written. Raises InvalidInput, CheckpointError.
    """
    if output.resolve() == folder.resolve():
        raise InvalidInput("Output and model are the same folder.", remedy="Name another one.", field="output")
    if (folder / CARD).exists():
        return _publish(folder, output, load(folder, role).card, quantization)
    if role is None or prompt_format is None:
        raise InvalidInput(
            f"{folder} has no {CARD} that says what it was trained for.",
            remedy="Say it: --role ROLE --format FORMAT.",
            field="role" if role is None else "format",
        )
    card = CheckpointCard(
        name=folder.resolve().name,
        role=role,
        architecture=architecture_of(folder),
        prompt_format=get_format(prompt_format).name,
        parameters=count_parameters(folder / WEIGHTS),
        max_input_tokens=max_input_tokens,
        max_new_tokens=max_new_tokens,
        created=datetime.now(UTC).date().isoformat(),
        training=Training(
            command="", commit=None, data_sha256="", seed=0, steps=0, recipe={}, dev={}
        ),  # not ours: nobody told
        files={},
    )
    return _publish(folder, output, card, quantization)


def _publish(source: Path, output: Path, card: CheckpointCard, quantization: str) -> CheckpointCard:
    """Put a model's files, its converted weights and its card at `output`, all or nothing."""
    staging = output.with_name(output.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name in _SHIPPED:
        if (source / name).exists():
            shutil.copyfile(source / name, staging / name)
    if read_object(source / "config.json").get("model_type") in CONVERTIBLE:
        convert_to_ctranslate2(source, staging / "ctranslate2", quantization)
    write_card(staging, card)
    verified = load(staging, card.role)
    shutil.rmtree(output, ignore_errors=True)
    staging.rename(output)
    return verified.card


def _commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
