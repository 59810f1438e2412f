"""New names for things, and new colours."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final

from training.worlds.words import made_up

_REAL: Final = 0.35
"""Share of new names that are words of the corpus; the others are made up, so that no vocabulary knows them."""
_LONGER: Final = 0.2
"""Share of new names that are two words, each a word of the corpus or made up."""
_ALIKE: Final = 0.12
"""Share of new names that share a word with something around, as `orange juice` does with an orange, and `tin` with a
tin cup."""
_SHORTER: Final = 0.5
"""Share of these that are no more than the shared word, where nothing else is called that."""
_STILL_COLOURS: Final = 0.85
"""Share of wires, lamps and boxes that keep to colours when they are called otherwise."""
_COLOURS: Final = "red orange yellow green blue violet purple black white brown grey pink".split()
_LETTERS: Final = "bcdefghijklmnopqrstuvwxyz"
"""Names of one letter. `a` is an article elsewhere."""


class NewNames:
    """Draws names. `words` are those of the corpus."""

    def __init__(self, rng: random.Random, words: Sequence[str]) -> None:
        self._random = rng
        self._words = words

    def name(self, taken: Collection[str], things: Sequence[str] = ()) -> str:
        """A new name. `taken` are words that it may not be, `things` what stands around, if it may be alike."""
        if things and self._random.random() < _ALIKE:
            return self._like(self._random.choice(things), taken, things)
        words = 2 if self._random.random() < _LONGER else 1
        return " ".join(self.word(taken) for _ in range(words))

    def word(self, taken: Collection[str]) -> str:
        """A new name of one word."""
        if self._words and self._random.random() < _REAL:
            word = self._random.choice(self._words)
            if word not in taken:
                return word
        return made_up(self._random)

    def letters(self, count: int, taken: Collection[str]) -> list[str]:
        """So many names of one letter, no two alike: two planes of one name cannot be told apart."""
        return self._random.sample([letter for letter in _LETTERS if letter not in taken], count) if count else []

    def colours(self, count: int, taken: Collection[str]) -> list[str]:
        """So many colours if there are, no two alike; now and then other words."""
        drawn: list[str] = []
        for colour in self._random.sample(_COLOURS, min(count, len(_COLOURS))):
            name = colour if self._random.random() < _STILL_COLOURS else self.word(taken)
            while name in drawn:
                name = self.word(taken)
            drawn.append(name)
        return drawn

    def _like(self, thing: str, taken: Collection[str], things: Sequence[str]) -> str:
        """A name that begins as this thing's does, or is no more than that if none of these things is called so."""
        first = thing.split(maxsplit=1)[0]
        return first if first not in things and self._random.random() < _SHORTER else f"{first} {self.word(taken)}"
