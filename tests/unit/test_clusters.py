"""Intervals over things, on made-up scores whose luck is known."""

from __future__ import annotations

import numpy as np
import pytest

from waymark.evaluation.intervals import over_variations_and_play
from waymark.evaluation.intervals_over_things import ThingScores, mean_over_things, over_things, single_things


def drawn_scores(
    random: np.random.Generator, things: int, variations: int, between: float, within: float
) -> ThingScores:
    """Six task types around 50 with these standard deviations between things and between variations of a thing."""
    means = 50 + between * random.standard_normal((6, things, 1, 1))
    return (means + within * random.standard_normal((6, things, variations, 1))).tolist()  # type: ignore[no-any-return]


def test_the_mean_is_over_task_types() -> None:
    scores = [[[[100.0, 0.0]], [[0.0], [100.0], [100.0]]], [[[0.0]]]]
    assert mean_over_things(scores) == pytest.approx((62.5 + 0.0) / 2)
    assert mean_over_things([]) == 0.0


@pytest.mark.parametrize(("between", "within"), [(20.0, 0.0), (20.0, 10.0), (0.0, 20.0)])
def test_the_choice_of_things_widens_the_interval(between: float, within: float) -> None:
    random, things, variations = np.random.default_rng(1), 12, 4
    widths = []
    for _ in range(20):
        interval = over_things(drawn_scores(random, things, variations, between, within))
        assert interval is not None
        widths.append(interval[1] - interval[0])
    # What Davison & Hinkley, section 3.8, say of drawing twice: the luck within things counts once too often.
    drawn = between**2 / things + 2 * within**2 / (things * variations)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(drawn / 6), rel=0.12)


def test_variations_of_one_thing_make_no_interval_narrow() -> None:
    one_score_a_thing = [[[[float(score)]] * 10 for score in (0, 100, 50)] for _ in range(6)]
    clustered = over_things(one_score_a_thing)
    naive = over_variations_and_play([[plays for thing in task for plays in thing] for task in one_score_a_thing])
    assert clustered is not None
    assert naive is not None
    assert clustered[1] - clustered[0] > 2 * (naive[1] - naive[0])


def test_a_task_type_with_a_single_thing_is_counted() -> None:
    scores = [[[[10.0]], [[20.0]]], [[[30.0], [30.0]]]]
    assert single_things(scores) == 1
    assert over_things(scores) == (20.0, 25.0)
    assert over_things(scores[1:]) is None
    assert over_things([]) is None
