"""95% intervals of mean scores, resampled over two sources of randomness: the choice of variations, and play.

A score is y[t, v, r] = mu[t] + a[t, v] + e[t, v, r]: task type t, variation v of V, play r of R. The estimate is the
mean over task types of the mean over variations of the mean over plays. Each of 2,000 resamples draws anew, within each
task type, with m[v] = mean of y[v, r] over r and m = mean of m[v] over v:

    variations   V of them with replacement; each has m + k (m[v] - m)
    plays        for each variation drawn, R of its own deviations y[v, r] - m[v] with replacement, times
                 sqrt(R / (R - 1)); their mean is added

    k^2 = max(0, s_m^2 - s_e^2 mean(1 / R)) / s_m^2
    s_m^2 = sum over v of (m[v] - m)^2 / (V - 1)                    estimates var(a) + var(e) mean(1 / R)
    s_e^2 = sum over v, r of (y[v, r] - m[v])^2 / sum over v of (R - 1)   estimates var(e)

so that a resampled mean varies by (var(a) (V - 1) / V + var(e) / R) / V. The interval lies between the 2.5th and the
97.5th percentile. This is the hierarchical bootstrap of Davison & Hinkley, *Bootstrap Methods and their Application*
(Cambridge University Press, 1997), section 3.8: drawing unscaled scores at both levels counts the randomness of play
twice, hence the factors k and sqrt(R / (R - 1)). Their k is larger by V / (V - 1) in square; it is left out here, so
that plays that are all alike give the interval of one play. Task types are the whole population and are not drawn: the
bootstrap is stratified by them (Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
NeurIPS 2021, resample runs within tasks in the same way).

With one play of each variation k is 1 and there are no deviations. The randomness of play is then part of the
differences between variations and cannot be separated from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Scores = Sequence[Sequence[Sequence[float]]]
"""Scores, or differences of scores: of each task type, of each variation, of each play. None of them is empty."""

RESAMPLES = 2_000
MIN_VARIATIONS = 3
"""With fewer variations of a task type there is nothing to resample."""
MIN_RESAMPLED = 0.9
"""Share of task types with enough variations, or of variations with two plays, for an interval to mean anything."""
_SEED = 0

_Numbers = NDArray[np.float64]
_Places = NDArray[np.int64]


def over_variations_and_play(scores: Scores) -> Interval | None:
    """The interval of the mean for other variations of these task types, played anew.

    A task type with fewer than three variations keeps them, which makes the interval a little narrower. None: fewer
    than nine in ten have three.
    """
    enough = [len(variations) >= MIN_VARIATIONS for variations in scores]
    if not scores or sum(enough) < MIN_RESAMPLED * len(scores):
        return None
    return _interval(scores, drawn=enough)


def over_play(scores: Scores) -> Interval | None:
    """The interval of the mean for other plays of the same variations: randomness of play alone.

    None: fewer than nine in ten variations were played twice.
    """
    twice = [len(plays) > 1 for variations in scores for plays in variations]
    if not twice or sum(twice) < MIN_RESAMPLED * len(twice):
        return None
    return _interval(scores, drawn=[False] * len(scores))


def mean(scores: Scores) -> float:
    """The estimate: the mean over task types of the mean over variations of the mean over plays; 0 without any."""
    means = [average([average(plays) for plays in variations]) for variations in scores]
    return average(means)


def _interval(scores: Scores, drawn: Sequence[bool]) -> Interval:
    """The percentiles of the resampled means; `drawn` says of which task types variations are drawn anew."""
    random = np.random.default_rng(_SEED)
    totals = np.zeros(RESAMPLES)
    for variations, draw in zip(scores, drawn, strict=True):
        totals += _resampled_means(random, variations, draw=draw)
    low, high = np.percentile(totals / len(scores), (2.5, 97.5))
    return float(low), float(high)


def _resampled_means(random: np.random.Generator, variations: Sequence[Sequence[float]], *, draw: bool) -> _Numbers:
    """The mean of one task type in each resample."""
    plays = np.array([len(variation) for variation in variations])
    means = np.array([average(variation) for variation in variations])
    count = len(means)
    chosen = (
        random.integers(count, size=(RESAMPLES, count))
        if draw
        else np.broadcast_to(np.arange(count), (RESAMPLES, count))
    )
    if plays.max() == 1:
        return np.asarray(means[chosen].mean(axis=1))
    deviations = np.zeros((count, plays.max()))
    for place, variation in enumerate(variations):
        deviations[place, : len(variation)] = np.asarray(variation, dtype=float) - means[place]
    shrunk = means.mean() + (_shrinkage(means, deviations, plays) if draw else 1.0) * (means - means.mean())
    scaled = deviations * np.sqrt(plays / np.maximum(1, plays - 1))[:, None]
    luck = _drawn_deviations(random, scaled, plays, chosen)
    return np.asarray((shrunk[chosen] + luck).mean(axis=1))


def _drawn_deviations(random: np.random.Generator, deviations: _Numbers, plays: _Places, chosen: _Places) -> _Numbers:
    """The mean of as many deviations as each chosen variation has plays, drawn among its own."""
    drawn_plays = plays[chosen]
    total = np.zeros(chosen.shape)
    for play in range(plays.max()):
        place = (random.random(chosen.shape) * drawn_plays).astype(np.int64)
        total += np.where(play < drawn_plays, deviations[chosen, place], 0.0)
    return np.asarray(total / drawn_plays)


def _shrinkage(means: _Numbers, deviations: _Numbers, plays: _Places) -> float:
    """The factor k: the share of the differences between variations that is not randomness of play."""
    between = float(means.var(ddof=1))
    within = float((deviations**2).sum() / (plays - 1).sum())
    if between == 0:
        return 0.0
    return float(np.sqrt(max(0.0, between - within * float((1 / plays).mean())) / between))


def average(values: Iterable[float]) -> float:
    """The mean of numbers, or 0 if there are none."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
