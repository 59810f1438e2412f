"""Batches: the examples of each forward pass, and their tensors.

Both depend only on the recipe's seed and the batch's number. So a resumed run sees the same batches as an uninterrupted
one, and N devices that take every N-th batch see together the same batches as one device.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate

from training.datasets import Example
from training.recipe import Recipe
from training.worlds.base import TrainingWorld
from training.worlds.registry import training_world_of
from waymark.errors import InvalidInput
from waymark.worlds.base import decision_of

Pair = tuple[str, str]
"""A prompt and its target."""

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
        if example.source and example.source.decision.is_correction:
            share *= recipe.corrections
        share *= recipe.often.get(decision_of(example.target).split(" ", 1)[0], 1.0)
        yield share if losses is None else share * (losses[place] + _KNOWN) ** recipe.hard
