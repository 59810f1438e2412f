"""Intervals on made-up scores whose two kinds of luck are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from waymark.evaluation.intervals import Interval, Scores, mean, over_play, over_variations_and_play
from waymark.evaluation.scores import interval

Z = 1.96
"""Of a normal distribution, 95% lies so many standard deviations around its mean."""


def drawn_scores(random: np.random.Generator, types: int, variations: int, plays: int, a: float, e: float) -> Scores:
    """Scores around 50 with these standard deviations between variations and between plays."""
    means = 50 + a * random.standard_normal((types, variations, 1))
    return (means + e * random.standard_normal((types, variations, plays))).tolist()  # type: ignore[no-any-return]


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


@pytest.mark.parametrize(("a", "e"), [(20.0, 0.0), (20.0, 20.0), (5.0, 30.0), (0.0, 20.0)])
@pytest.mark.parametrize("plays", [2, 5])
def test_the_interval_covers_variations_and_randomness_of_play(a: float, e: float, plays: int) -> None:
    random, types, variations = np.random.default_rng(1), 6, 20
    widths = [width(over_variations_and_play(drawn_scores(random, types, variations, plays, a, e))) for _ in range(20)]
    true = 2 * Z * np.sqrt((a**2 + e**2 / plays) / (variations * types))
    assert np.mean(widths) == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("plays", [2, 5])
def test_the_interval_of_play_covers_randomness_of_play_alone(plays: int) -> None:
    random, types, variations, e = np.random.default_rng(1), 6, 20, 20.0
    widths = [width(over_play(drawn_scores(random, types, variations, plays, 40.0, e))) for _ in range(20)]
    true = 2 * Z * np.sqrt(e**2 / (plays * variations * types))
    assert np.mean(widths) == pytest.approx(true, rel=0.1)


def test_intervals_hold_the_true_mean_19_times_in_20() -> None:
    random, held = np.random.default_rng(2), 0
    for _ in range(300):
        interval = over_variations_and_play(drawn_scores(random, 3, 15, 3, 15.0, 25.0))
        assert interval is not None
        held += interval[0] <= 50 <= interval[1]
    assert 0.91 <= held / 300 <= 0.98


def test_plays_that_are_alike_give_the_interval_of_one_play() -> None:
    once = [[[0], [30], [60], [90]], [[10], [20], [80], [80]]]
    thrice = [[plays * 3 for plays in variations] for variations in once]
    assert over_variations_and_play(thrice) == pytest.approx(over_variations_and_play(once))
    assert over_play(thrice) == pytest.approx((mean(once), mean(once)))


def test_equal_variations_leave_randomness_of_play_alone() -> None:
    scores = [[[0, 100]] * 10]
    both, play = over_variations_and_play(scores), over_play(scores)
    assert both is not None
    assert play is not None
    assert both[0] < 30
    assert both[1] > 70
    assert width(both) == pytest.approx(width(play), rel=0.2)


def test_one_play_gives_the_interval_that_it_always_gave() -> None:
    scores = [[0, 30, 60, 90], [10, 20, 80, 80]]
    random = np.random.default_rng(0)
    totals = sum(np.asarray(score, dtype=float)[random.integers(4, size=(2_000, 4))].mean(axis=1) for score in scores)
    expected = tuple(np.percentile(totals / 2, (2.5, 97.5)))
    assert interval(scores) == expected == over_variations_and_play([[[y] for y in score] for score in scores])


@pytest.mark.parametrize("resample", [over_variations_and_play, over_play])
def test_the_same_scores_give_the_same_interval(resample: Callable[[Scores], Interval | None]) -> None:
    scores = drawn_scores(np.random.default_rng(3), 4, 5, 2, 10.0, 10.0)
    assert resample(scores) == resample(scores)


def test_unfinished_repeats_weigh_no_variation_more() -> None:
    scores = [[[0, 0, 0], [100], [50, 50]]]
    assert mean(scores) == 50
    both, play = over_variations_and_play(scores), over_play(scores)
    assert both is not None
    assert both[0] < 50 < both[1]
    assert play is None


def test_there_is_no_interval_without_enough_to_resample() -> None:
    assert over_variations_and_play([]) is None
    assert over_play([]) is None
    assert over_variations_and_play([[[1, 2], [3, 4]]]) is None
    assert over_play([[[1], [2], [3]]]) is None
    assert over_play([[[1, 2]]]) is not None
