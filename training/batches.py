"""Batches: which examples a forward pass sees, and as which tensors.

Both are decided by the recipe's seed and the batch's number alone: a resumed run sees what it would have seen, and
N devices that take every N-th batch see together what one would.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.datasets import Example
from training.recipe import Recipe
from training.renaming import Renamer
from waymark.errors import InvalidInput
from waymark.generation.tokens import Tokens

Pair = tuple[str, str]
"""A prompt and its target."""

IGNORED = -100
"""The label of what is no part of an answer."""
_ROUND = 16
_CHUNK = 32
"""Batches that are drawn together and sorted by length."""


class Batches:
    """Batches of similar length, numbered from 0 without end; each batch of examples follows its batches of drills."""

    def __init__(self, corpus: Sequence[Example], recipe: Recipe) -> None:
        self._recipe = recipe
        self._by_task: dict[str, list[Example]] = {}
        for example in corpus:
            self._by_task.setdefault(example.task_id, []).append(example)
        self._tasks = sorted(self._by_task)
        self._weights = [len(self._by_task[task]) ** (1 / recipe.temperature) for task in self._tasks]
        self._rename = Renamer(corpus, share=recipe.rename, seed=recipe.seed)
        self._drillable = [example for example in corpus if self._rename.drill(example)] if recipe.drills else []
        if recipe.drills and not self._drillable:
            raise InvalidInput(
                "No training example can be made a copying drill.", remedy="Set drills to 0.", field="drills"
            )
        self._number = -1
        self._chunk: list[list[Pair]] = []

    def __getitem__(self, number: int) -> list[Pair]:
        """The batch of that number."""
        chunk, place = divmod(number, _CHUNK * (1 + self._recipe.drills))
        if chunk != self._number:
            self._number, self._chunk = chunk, self._draw(chunk)
        return self._chunk[place]

    def _draw(self, chunk: int) -> list[list[Pair]]:
        size = self._recipe.batch
        draw = random.Random(f"{self._recipe.seed} {chunk}")
        self._rename.reseed(draw.getrandbits(64))
        tasks = draw.choices(self._tasks, self._weights, k=size * _CHUNK)
        pairs = [self._rename(draw.choice(self._by_task[task])) for task in tasks]
        pairs.sort(key=lambda pair: len(pair[0]))
        batches = [pairs[at : at + size] for at in range(0, len(pairs), size)]
        draw.shuffle(batches)
        drawn = []
        for batch in batches:
            for _ in range(self._recipe.drills):
                drills = map(self._rename.drill, draw.choices(self._drillable, k=size))
                drawn.append([drill for drill in drills if drill])
            drawn.append(batch)
        return drawn


@dataclass(frozen=True)
class Tensors:
    """From prompts and targets to a model's inputs, cut where serving cuts them."""

    tokens: Tokens
    recipe: Recipe
    pad: int

    def __call__(self, batch: Sequence[Pair]) -> dict[str, Tensor | int]:
        """Inputs of a forward pass with labels; widths are rounded, so that kernels are made once for few shapes."""
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

    def right(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Which answers are right token by token under teacher forcing: those that greedy search would give."""
        if self.recipe.architecture == "causal":  # the token at a place predicts the next
            logits, labels = logits[:, :-1], labels[:, 1:]
        return ((logits.argmax(-1) == labels) | (labels == IGNORED)).all(dim=1)

    def _causal(self, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> dict[str, Tensor | int]:
        """Prompt and answer in a row. Padded on the left, so that all answers end the rows and logits are only made
        there; a vocabulary is many times wider than a model."""
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
