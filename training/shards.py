"""Safetensors weights of a model folder: merged from shards by their index, and checked to be finite.

A sharded model has `model.safetensors.index.json`, whose `weight_map` says which file holds each tensor.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training.base_models import COPY_AGAIN, INDEX, read_index
from training.run_state import writing
from waymark.errors import CheckpointError, TrainingDiverged
from waymark.inference.checkpoint import WEIGHTS


def put_weights(source: Path, target: Path) -> None:
    """Copy a model's weights to the folder `target` as one model.safetensors.

    Raises CheckpointError where there are none, and for an index that does not fit its shards.
    """
    if (source / WEIGHTS).is_file():
        shutil.copyfile(source / WEIGHTS, target / WEIGHTS)
        return
    if not (source / INDEX).is_file():
        raise CheckpointError(
            f"{source} has neither {WEIGHTS} nor {INDEX}.",
            remedy="Save the model with safetensors, never as a pickle.",
        )
    index = read_index(source)
    tensors: dict[str, Any] = {}
    for name in sorted(set(index.values())):
        shard = source / name
        if not shard.is_file():
            raise CheckpointError(f"{source} lacks {name}, which its {INDEX} names.", remedy=COPY_AGAIN)
        for tensor, value in _tensors(shard):
            if tensor not in index:
                raise CheckpointError(f"{shard} holds {tensor}, which {INDEX} does not list.", remedy=COPY_AGAIN)
            if tensor in tensors or index[tensor] != name:
                raise CheckpointError(f"{source} holds {tensor} more than once.", remedy=COPY_AGAIN)
            tensors[tensor] = value
    if missing := sorted(index.keys() - tensors.keys()):
        raise CheckpointError(
            f"{source / index[missing[0]]} lacks {missing[0]}, which {INDEX} lists.", remedy=COPY_AGAIN
        )
    with writing(target):
        save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})


def require_finite(weights: Path) -> None:
    """Raise TrainingDiverged that names the first tensor with a NaN or an infinity in it."""
    for name, tensor in _tensors(weights):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TrainingDiverged(
                f"The weights in {weights} are not finite: {name} holds NaN or infinity.",
                remedy="Train again with a lower learning_rate, or name other weights.",
            )


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                yield name, opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is no safetensors file: {error}.", remedy=COPY_AGAIN) from error
