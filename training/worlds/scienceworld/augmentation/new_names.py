"""Draws new names and new colours for things."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final

from training.worlds.made_up_words import made_up

_REAL: Final = 0.35
"""Share of new names that are words of the corpus. The others are made up, so no vocabulary has them."""
_LONGER: Final = 0.2
"""Share of new names that are two words, each a word of the corpus or made up."""
_ALIKE: Final = 0.12
"""Share of new names that share a word with a thing in the scene, as `orange juice` does with an orange, and `tin` with
a tin cup."""
_SHORTER: Final = 0.5
"""Share of these names that are the shared word alone, if no thing has that name."""
_STILL_COLOURS: Final = 0.85
"""Share of renamed wires, lamps and boxes whose new name is a colour."""
_COLOURS: Final = "red orange yellow green blue violet purple black white brown grey pink".split()
_LETTERS: Final = "bcdefghijklmnopqrstuvwxyz"
"""Names of one letter. `a` is left out, because it is also the article."""


class NewNames:
    """Draws names. `words` are those of the corpus."""

    def __init__(self, rng: random.Random, words: Sequence[str]) -> None:
        self._random = rng
        self._words = words

    def name(self, taken: Collection[str], things: Sequence[str] = ()) -> str:
        """A new name, not among the words `taken`. If `things` of the scene are given, it may share a word with one."""
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
        """`count` different names of one letter. Two planes with the same name could not be distinguished."""
        return self._random.sample([letter for letter in _LETTERS if letter not in taken], count) if count else []

    def colours(self, count: int, taken: Collection[str]) -> list[str]:
        """`count` different colours, or as many as there are. Some are other words (`_STILL_COLOURS`)."""
        drawn: list[str] = []
        for colour in self._random.sample(_COLOURS, min(count, len(_COLOURS))):
            name = colour if self._random.random() < _STILL_COLOURS else self.word(taken)
            while name in drawn:
                name = self.word(taken)
            drawn.append(name)
        return drawn

    def _like(self, thing: str, taken: Collection[str], things: Sequence[str]) -> str:
        """A name that begins with the first word of a thing, or is this word alone if no thing has that name."""
        first = thing.split(maxsplit=1)[0]
        return first if first not in things and self._random.random() < _SHORTER else f"{first} {self.word(taken)}"
