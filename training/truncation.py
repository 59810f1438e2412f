"""How much of the training text a recipe's token limits cut off, measured before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from training.dataset_statistics import describe_split
from training.datasets import Example
from training.recipe import Recipe
from waymark.errors import InvalidInput
from waymark.inference.tokens import Tokens

MAX_TRUNCATED: Final = 0.05
"""The share of prompts, or of answers, that may be cut without `--allow-truncation`."""
_SAMPLE: Final = 2000
"""Examples that are looked at, evenly spread: a share is then known to about two percentage points."""


@dataclass(frozen=True)
class Truncation:
    """How many of some train examples are cut."""

    examples: int
    prompts: int
    """Those whose prompt is longer than `max_input_tokens`; its end is cut off."""
    answers: int
    """Those whose answer is longer than `max_new_tokens`."""
    longest_prompt: int
    """Tokens."""
    longest_answer: int
    """Tokens."""

    def __str__(self) -> str:
        return (
            f"{self.prompts / self.examples:.1%} of prompts and {self.answers / self.examples:.1%} of answers are cut "
            f"(longest: {self.longest_prompt:,} and {self.longest_answer:,} tokens; {self.examples:,} examples)"
        )


def measure_truncation(corpus: Sequence[Example], tokens: Tokens, recipe: Recipe) -> Truncation:
    """Measure a sample of the train examples."""
    count = min(_SAMPLE, len(corpus))
    chosen = [corpus[index * len(corpus) // count] for index in range(count)]
    split = describe_split(
        chosen, tokens, max_input_tokens=recipe.max_input_tokens, max_new_tokens=recipe.max_new_tokens
    )
    return Truncation(len(chosen), split.truncated, split.unwritable, split.prompt.longest, split.target.longest)


def require_whole(truncation: Truncation, recipe: Recipe, max_truncated: float = MAX_TRUNCATED) -> None:
    """Raise InvalidInput when more than a share of prompts or answers is cut."""
    for name, count, limit, longest in (
        ("max_input_tokens", truncation.prompts, recipe.max_input_tokens, truncation.longest_prompt),
        ("max_new_tokens", truncation.answers, recipe.max_new_tokens, truncation.longest_answer),
    ):
        if count > max_truncated * truncation.examples:
            raise InvalidInput(
                f"{truncation}, with {name} = {limit}.",
                remedy=f"Set {name} to {longest} in the recipe, or train on cut texts with --allow-truncation.",
                field=name,
            )
