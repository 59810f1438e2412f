"""Prompts and targets as a model's inputs, cut as in serving; and the losses of its answers."""

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

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy of each answer's tokens, in nats."""
        logits, labels = self._aligned(logits, labels)
        token_losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), labels, reduction="none")
        return token_losses.sum(dim=1) / (labels != IGNORED).sum(dim=1)

    def right(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Which answers are right token by token under teacher forcing: those that greedy search would give."""
        logits, labels = self._aligned(logits, labels)
        return ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(dim=1)

    def _aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of each position, aligned with the label that they predict; in a causal model that is the next
        position's.
        """
        return (logits[:, :-1], labels[:, 1:]) if self.recipe.architecture == "causal" else (logits, labels)

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
