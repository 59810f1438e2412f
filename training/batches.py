"""Batches: the examples of each forward pass, and their tensors.

Both depend only on the recipe's seed and the batch's number. So a resumed run sees the same batches as an uninterrupted
one, and N devices that take every N-th batch see together the same batches as one device.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from training.datasets import Example
from training.recipe import Recipe
from training.worlds.base import TrainingWorld
from training.worlds.registry import training_world_of
from waymark.errors import InvalidInput
from waymark.inference.tokens import Tokens
from waymark.worlds.base import decision_of

Pair = tuple[str, str]
"""A prompt and its target."""

IGNORED = -100
"""The label of positions that are not part of an answer."""
_ROUND = 16
_CHUNK = 32
"""Number of batches that are drawn together and sorted by length."""
_KNOWN = 0.1
"""Added to every loss before examples are weighted by it, so that every example is drawn sometimes."""


class Batches:
    """Batches of similar length, numbered from 0 without end; each batch of examples follows its batches of drills.

    With `losses`, one for each example, hard examples are drawn more often (`Recipe.hard`).
    """

    def __init__(self, corpus: Sequence[Example], recipe: Recipe, losses: Sequence[float] | None = None) -> None:
        self._recipe = recipe
        self._corpus = corpus
        world = training_world_of(example.task_id for example in corpus)
        self._summed = list(accumulate(_weights(corpus, recipe, world, losses)))
        augmented = bool(recipe.rename or recipe.drills)
        self._augment = world.augmentation(corpus, share=recipe.rename, seed=recipe.seed) if augmented else None
        drills = self._augment if recipe.drills else None
        self._drillable = [example for example in corpus if drills and drills.is_drillable(example)]
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

    def once(self) -> list[Pair]:
        """Each example once, in the order of the corpus, changed as in the batches."""
        if self._augment:
            self._augment.reseed(self._recipe.seed)
        return [self._pair(example) for example in self._corpus]

    def _pair(self, example: Example) -> Pair:
        """An example's text, changed where the recipe says so."""
        if self._augment and self._recipe.rename and example.source:
            return example.source.written(self._augment(example))
        return example.prompt, example.target

    def _draw(self, chunk: int) -> list[list[Pair]]:
        size = self._recipe.batch
        draw = random.Random(f"{self._recipe.seed} {chunk}")
        seed = draw.getrandbits(64)
        if self._augment:
            self._augment.reseed(seed)
        pairs = [self._pair(choice) for choice in draw.choices(self._corpus, cum_weights=self._summed, k=size * _CHUNK)]
        pairs.sort(key=lambda pair: len(pair[0]))
        batches = [pairs[at : at + size] for at in range(0, len(pairs), size)]
        draw.shuffle(batches)
        drawn = []
        for batch in batches:
            drawn += [self._drill(draw) for _ in range(self._recipe.drills)]
            drawn.append(batch)
        return drawn

    def _drill(self, draw: random.Random) -> list[Pair]:
        """A batch of drills."""
        assert self._augment
        return [self._augment.drill(chosen) for chosen in draw.choices(self._drillable, k=self._recipe.batch)]


def _weights(
    corpus: Sequence[Example], recipe: Recipe, world: TrainingWorld, losses: Sequence[float] | None
) -> Iterator[float]:
    """The relative frequency of each example: its task type's share times its difficulty."""
    counts = Counter(example.task_id for example in corpus)
    for place, example in enumerate(corpus):
        share = counts[example.task_id] ** (1 / recipe.temperature - 1)
        if recipe.answers != 1 and world.is_answer(example):
            share *= recipe.answers
        share *= recipe.often.get(decision_of(example.target).split(" ", 1)[0], 1.0)
        yield share if losses is None else share * (losses[place] + _KNOWN) ** recipe.hard


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
