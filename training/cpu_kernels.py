"""The kernels with which a T5 trains fastest on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.t5.modeling_t5 import T5DenseActDense, T5DenseGatedActDense

from training import cpu_attention


def suit_to_cpu(model: Any) -> None:
    """Choose the kernels of a T5 that compute the same faster on a CPU. docs/log.md (2026-11-29) has the figures.

    Attention by plain products in one precision, because the fused one cannot learn T5's relative bias and falls back
    to a slower way; GELU with tanh as one kernel instead of eight.
    """
    if torch.accelerator.is_available() or model.config.model_type != "t5":
        return
    model.set_attn_implementation(cpu_attention.NAME)
    if model.config.dense_act_fn == "gelu_new":
        for module in model.modules():
            if isinstance(module, T5DenseGatedActDense | T5DenseActDense):
                module.act = torch.nn.GELU(approximate="tanh")
