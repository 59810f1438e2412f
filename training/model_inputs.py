"""Prompts and targets as a model's inputs, cut as in serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.batches import Pair
from training.recipe import Recipe
from waymark.inference.tokens import Tokens

IGNORED = -100
"""The label of positions that are not part of an answer."""
_ROUND = 16


@dataclass(frozen=True)
class Tensors:
    """Converts prompts and targets to a model's inputs, cut in the same way as in serving."""

    tokens: Tokens
    recipe: Recipe
    pad: int

    def __call__(self, batch: Sequence[Pair]) -> dict[str, Tensor | int]:
        """Inputs of a forward pass, with labels. Widths are rounded up, so that kernels are compiled for few shapes
        only.
        """
        read = self.tokens.prompts([prompt for prompt, _ in batch], self.recipe.max_input_tokens)
        prompts = [prompt.ids for prompt in read]
        limit = self.recipe.max_new_tokens - 1
        answers = [
            [*self.tokens.target(target, prompt)[:limit], self.tokens.end]
            for (_, target), prompt in zip(batch, read, strict=True)
        ]
        if self.recipe.architecture == "causal":
            return self._causal(prompts, answers)
        return {
            "input_ids": _rectangle(prompts, self.pad),
            "attention_mask": _rectangle([[1] * len(ids) for ids in prompts], 0),
            "labels": _rectangle(answers, IGNORED),
        }

    def _causal(self, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> dict[str, Tensor | int]:
        """Prompt and answer in one row, padded on the left. So all answers are at the end of the rows, and logits are
        computed only there; a vocabulary is many times wider than a model."""
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        mask = _rectangle([[1] * len(row) for row in rows], 0, left=True)
        labels = _rectangle([[IGNORED, *answer] for answer in answers], IGNORED, left=True)
        return {
            "input_ids": _rectangle(rows, self.pad, left=True),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
            "labels": labels,
            "logits_to_keep": labels.shape[1],
        }


def _rectangle(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> Tensor:
    """Rows of numbers, filled up with a value to a round width."""
    width = -(-max(len(row) for row in rows) // _ROUND) * _ROUND
    filled = ((row, [value] * (width - len(row))) for row in rows)
    return torch.tensor([[*filler, *row] if left else [*row, *filler] for row, filler in filled])
