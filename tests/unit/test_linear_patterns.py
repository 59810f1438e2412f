"""Every regular expression takes time in proportion to its text, whatever the text."""

from __future__ import annotations

import pytest

from tests import hostile


def _worst(case: hostile.PlacedPattern) -> tuple[float, str]:
    """The first growth that is too much, else the last one; and at what."""
    growth, shape = 0.0, ""
    for short, long in zip(
        hostile.texts(case.pattern, hostile.SHORT), hostile.texts(case.pattern, hostile.LONG), strict=True
    ):
        for work in (case.pattern.search, case.pattern.fullmatch, case.pattern.findall):
            growth, shape = hostile.growth_of(work, short, long), f"{work.__name__} of {short[:40]!r}…"
            if growth > hostile.GROWTH:
                return growth, shape
    return growth, shape


@pytest.mark.parametrize("case", hostile.patterns(), ids=lambda case: case.place)
def test_a_pattern_takes_time_in_proportion_to_its_text(case: hostile.PlacedPattern) -> None:
    growth, shape = _worst(case)
    assert growth <= hostile.GROWTH, f"{case.pattern.pattern!r} grows {growth:.1f} times at {shape}"
