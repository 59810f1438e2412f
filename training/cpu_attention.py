"""Attention of a T5 for training on a CPU: the same sums as transformers' own, in a third less time for an update.

transformers adds T5's relative bias, a float32 tensor, to scores that autocast has computed in bfloat16. So scores,
softmax and their gradients become float32 again, by slow conversions. Here bias and mask take the precision of the
scores. In float32 nothing differs. Measured in docs/log.md (2026-11-29).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

NAME: Final = "waymark_t5"
"""What `set_attn_implementation` of a model takes."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention by plain products (T5: Raffel et al., JMLR 2020, section 2.1, so without scaling).

    Query, key and value are (batch, heads, length, width); mask and bias are added to the (batch, heads, queries,
    keys) scores. Returns (batch, queries, heads, width) and the weights.
    """
    with torch.autocast(query.device.type, enabled=False):
        scores = torch.matmul(query, key.transpose(2, 3))
        for added in (position_bias, attention_mask):
            if added is not None:
                scores = scores + added.to(scores.dtype)
        weights = torch.nn.functional.dropout(torch.softmax(scores, dim=-1), p=dropout, training=module.training)
        return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
