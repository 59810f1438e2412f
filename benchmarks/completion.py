"""What the benchmarked models answer with, whichever library runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's best answer."""

    text: str
    read: int
    """Prompt tokens."""
    written: int
    """Its own tokens, the end token included."""
