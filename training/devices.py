"""The devices of a fine-tuning run: what `accelerate` gives this process, and what the recipe makes of it."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from training.recipe import Recipe
from waymark.errors import InvalidInput


def open_accelerator(recipe: Recipe) -> Accelerator:
    """This process's part in the run: one of one, or what `accelerate launch` has set up. Raises InvalidInput."""
    accelerator = Accelerator(mixed_precision="bf16" if _is_bf16_fast() else "no")
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched > accelerator.num_processes:  # accelerate leaves FSDP out without a GPU, and says nothing
        raise InvalidInput(
            f"The launcher has started {launched} processes, but accelerate finds no device that they could share.",
            remedy="Without GPUs launch with torch.distributed.run; FSDP needs GPUs.",
            field="launch",
        )
    if recipe.accumulate % accelerator.num_processes:
        raise InvalidInput(
            f"The recipe accumulates {recipe.accumulate} forward passes, which {accelerator.num_processes} devices "
            "cannot share evenly.",
            remedy="Choose accumulate as a multiple of the devices; batch × accumulate is what an update sees.",
            field="accumulate",
        )
    accelerator.gradient_accumulation_steps = recipe.accumulate // accelerator.num_processes
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        accelerator.state.deepspeed_plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = recipe.batch
    return accelerator


def _is_bf16_fast() -> bool:
    """Whether the device computes in bf16 itself. A processor that does not takes thirty times as long over it as over
    float32 (docs/log.md)."""
    able = torch.cpu.get_capabilities()
    return torch.accelerator.is_available() or any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
