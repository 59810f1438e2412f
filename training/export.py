"""Export: from a run folder to a checkpoint that the services load, with its card and its CTranslate2 form."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from safetensors import safe_open

from waymark.checkpoint import CheckpointCard, Training, load, write_card
from waymark.contracts import Role
from waymark.errors import InvalidInput
from waymark.generation.ctranslate2 import CONVERTIBLE, convert_to_ctranslate2

_SHIPPED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
"""The last only for causal models: vLLM asks for it."""


def export(
    run: Path, output: Path, *, role: Role, prompt_format: str, command: str, data_sha256: str
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
    staging = output.with_name(output.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name in _SHIPPED:
        if (best / name).exists():
            shutil.copyfile(best / name, staging / name)
    if json.loads((best / "config.json").read_text())["model_type"] in CONVERTIBLE:
        convert_to_ctranslate2(best, staging / "ctranslate2", quantization="int8")
    card = CheckpointCard(
        name=f"waymark-{output.name}",
        role=role,
        # Runs from before there was a choice trained encoder-decoders.
        architecture=recipe.get("architecture", "seq2seq"),
        prompt_format=prompt_format,
        parameters=_parameters(best / "model.safetensors"),
        max_input_tokens=recipe["max_input_tokens"],
        max_new_tokens=recipe["max_new_tokens"],
        created=datetime.now(UTC).date().isoformat(),
        training=Training(
            command=command,
            commit=_commit(),
            data_sha256=data_sha256,
            seed=recipe["seed"],
            steps=chosen["step"],
            recipe=recipe,
            dev={"exact_match": round(chosen["dev_exact_match"], 4), "loss": round(chosen["dev_loss"], 4)},
        ),
        files={},
    )
    write_card(staging, card)
    load(staging, role)
    shutil.rmtree(output, ignore_errors=True)
    staging.rename(output)
    return card


def _parameters(weights: Path) -> int:
    with safe_open(weights, framework="pt") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 (not a dict)
    total = 0
    for shape in shapes:
        size = 1
        for extent in shape:
            size *= extent
        total += size
    return total


def _commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
