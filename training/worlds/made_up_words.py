"""Made-up words, which no vocabulary knows: models learn from them to copy what they read."""

from __future__ import annotations

import random

_SYLLABLES = (
    "ba be bi bo da do fa fe ga go ka ki la lo ma mi mo na ne no pa pe ra ri ro sa se ta ti to va vo wa zu".split()
)


def made_up(chance: random.Random) -> str:
    """A word that nobody knows."""
    return "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 3)))
