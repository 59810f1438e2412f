"""Made-up words. Models that read them learn to copy names instead of recalling them."""

from __future__ import annotations

import random

_SYLLABLES = (
    "ba be bi bo da do fa fe ga go ka ki la lo ma mi mo na ne no pa pe ra ri ro sa se ta ti to va vo wa zu".split()
)


def made_up(rng: random.Random) -> str:
    """A word of two or three syllables that is in no vocabulary."""
    return "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3)))
