"""Consistent renaming: examples whose names and numbers are changed throughout.

Names change so that models learn to copy instead of recite; numbers, so that they learn to compare.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from training.datasets import Example

_WORD = re.compile(r"[a-z]+")
_LONG_WORD = re.compile(r"\b[a-z]{3,}\b")
_REAL, _BLENDED = 0.35, 0.35
"""Shares of new names: words of the corpus; the start of one with the end of another, which meets every piece of the
vocabulary; the rest is syllables."""
_GRAMMAR = frozenset(
    "to on in into with and containing inventory room the of first focus pick move pour wait substance unknown "
    "terminal anode cathode surface inclined plane seed plant box up boil melt freeze change".split()
)
_NUMBERS = {digits: re.compile(rf"(?<!- )\b\d(?: \d){{{digits - 1}}}(?= (?:degrees|down)\b)") for digits in (3, 4)}
"""Readings as the `compact` format writes them: percentages with three digits, temperatures with four."""
_HIGHEST = {3: 100, 4: 600}
_SYLLABLES = (
    "ba be bi bo da do fa fe ga go ka ki la lo ma mi mo na ne no pa pe ra ri ro sa se ta ti to va vo wa zu".split()
)


class Renamer:
    """Consistent renaming: words that the instruction names and the answer repeats get other names throughout.

    Test variations hold out substances, plants and components. A model that has learnt `water` as the answer
    boils water whatever it is told; one that has seen the named thing change its name learns to copy it.
    Only names that the instruction gives are renamed, so nothing that has to be inferred is lost.
    """

    def __init__(self, corpus: Sequence[Example], *, share: float, seed: int) -> None:
        self._share = share
        self._random = random.Random(seed)
        self._words: list[str] = sorted(
            {word for example in corpus for word in _LONG_WORD.findall(example.prompt)} - _GRAMMAR
        )

    def reseed(self, seed: int) -> None:
        """Draw from here on as a renamer made with this seed would."""
        self._random.seed(seed)

    def __call__(self, example: Example) -> tuple[str, str]:
        """Prompt and target, renamed with the probability `share`."""
        if self._random.random() >= self._share:
            return example.prompt, example.target
        return self._renamed(example.prompt, example)

    def drill(self, example: Example) -> tuple[str, str] | None:
        """A copying drill: the instruction alone, always renamed; None where the answer needs more than that.

        Short, so ten times cheaper than the whole prompt, and nothing but copying solves it.
        """
        instruction = example.prompt.split(" | ", 1)[0]
        known = _GRAMMAR | set(instruction.split())
        if not _nameable(example) or not known.issuperset(example.target.split()[1:]):
            return None
        return self._renamed(instruction, example)

    def _renamed(self, prompt: str, example: Example) -> tuple[str, str]:
        names = {word: self._name(word) for word in _nameable(example)}
        return _replace(self._renumbered(prompt), names), _replace(example.target, names)

    def _renumbered(self, prompt: str) -> str:
        """Other readings in the same order: which is greater stays, how great it is does not."""
        for digits, pattern in _NUMBERS.items():
            told = sorted(set(pattern.findall(prompt)))
            if len(told) > 1:
                drawn = sorted(self._random.sample(range(_HIGHEST[digits]), len(told)))
                new = {old: " ".join(str(value).zfill(digits)) for old, value in zip(told, drawn, strict=True)}
                prompt = pattern.sub(lambda found, new=new: new[found.group(0)], prompt)  # type: ignore[misc]
        return prompt

    def _name(self, word: str) -> str:
        if len(word) == 1:
            return self._random.choice("abcdefghijklmnopqrstuvwxyz")
        kind = self._random.random()
        if kind < _REAL or not self._words:
            return self._random.choice(self._words or [word])
        if kind < _REAL + _BLENDED:
            start, end = self._random.choices(self._words, k=2)
            return start[: self._random.randint(2, len(start))] + end[-self._random.randint(1, len(end) - 1) :]
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randint(2, 3)))


def _nameable(example: Example) -> list[str]:
    """Words that both the instruction and the answer hold, the answer's verb and grammar words excluded."""
    told = set(_WORD.findall(example.instruction.lower()))
    answer = example.target.split()[1:]
    return [word for word in dict.fromkeys(answer) if word in told and _WORD.fullmatch(word) and word not in _GRAMMAR]


def _replace(text: str, names: dict[str, str]) -> str:
    return " ".join(names.get(word, word) for word in text.split(" "))
