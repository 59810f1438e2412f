"""How well a model writes the answers of a batch under teacher forcing: losses, and which answers are right."""

from __future__ import annotations

import torch
from torch import Tensor

from training.model_inputs import IGNORED
from training.recipe import Recipe


def losses(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of each answer's tokens, in nats."""
    logits, labels = _aligned(recipe, logits, labels)
    token_losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), labels, reduction="none")
    return token_losses.sum(dim=1) / (labels != IGNORED).sum(dim=1)


def right(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    """Which answers are right token by token under teacher forcing: those that greedy search would give."""
    logits, labels = _aligned(recipe, logits, labels)
    return ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(dim=1)


def _aligned(recipe: Recipe, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of each position, aligned with the label that they predict; in a causal model that is the next
    position's.
    """
    return (logits[:, :-1], labels[:, 1:]) if recipe.architecture == "causal" else (logits, labels)
