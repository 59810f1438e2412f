"""95% intervals of mean scores for other things: variations that ask for the same thing are no independent draws.

The ten test variations of a task type may all be about one substance. Drawing variations anew then says how sure the
score is for that substance, not for others. So here the things are drawn first.

A score is y[t, k, v, r]: task type t, thing k of K, variation v of V[k], play r. The estimate is the mean over task
types of the mean over a type's variations of the mean over plays, as in `waymark.evaluation.scores`. Each of 2,000
resamples draws anew, within each task type,

    things       K of them with replacement
    variations   of each thing drawn, V[k] of its own with replacement

and takes the mean over all variations that were drawn (m[v] = mean of y[v, r] over r). The interval lies between the
2.5th and the 97.5th percentile. For a difference of two agents the scores are the differences on the same variations,
so that pairs are drawn.

Drawing whole groups is the pairs cluster bootstrap (Cameron, Gelbach & Miller, "Bootstrap-Based Improvements for
Inference with Clustered Errors", Review of Economics and Statistics 90(3), 2008). Drawing within a group as well is the
hierarchical bootstrap of Davison & Hinkley, *Bootstrap Methods and their Application* (1997), section 3.8, which notes
that it overstates the variance within groups a little. With few things an interval is too narrow (Cameron et al.,
section III), and a task type with one thing keeps it: `single_things` counts those, which a table has to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from waymark.evaluation.intervals import RESAMPLES, Interval

ThingScores = Sequence[Sequence[Sequence[Sequence[float]]]]
"""Scores, or differences of scores: of each task type, thing, variation and play. None of them is empty."""
_SEED = 0


def mean_over_things(scores: ThingScores) -> float:
    """The estimate: the mean over task types of the mean over variations of the mean over plays; 0 without any."""
    means = [np.concatenate(_variation_means(things)).mean() for things in scores]
    return float(np.mean(means)) if means else 0.0


def over_things(scores: ThingScores) -> Interval | None:
    """The interval of the mean for other things of these task types, and other variations about them.

    None where there is no task type, or no type has two things.
    """
    if not scores or single_things(scores) == len(scores):
        return None
    random = np.random.default_rng(_SEED)
    totals = np.zeros(RESAMPLES)
    for things in scores:
        totals += _resampled(random, _variation_means(things))
    low, high = np.percentile(totals / len(scores), (2.5, 97.5))
    return float(low), float(high)


def single_things(scores: ThingScores) -> int:
    """How many task types have one thing only, which is kept and makes the interval too narrow."""
    return sum(len(things) == 1 for things in scores)


def _variation_means(things: Sequence[Sequence[Sequence[float]]]) -> list[NDArray[np.float64]]:
    return [np.array([np.mean(plays) for plays in variations], dtype=float) for variations in things]


def _resampled(random: np.random.Generator, things: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of one task type in each resample."""
    chosen = random.integers(len(things), size=(RESAMPLES, len(things)))
    sums, counts = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for place in range(len(things)):
        for thing, means in enumerate(things):
            drawn = chosen[:, place] == thing
            places = random.integers(len(means), size=(RESAMPLES, len(means)))
            sums += np.where(drawn, means[places].sum(axis=1), 0.0)
            counts += np.where(drawn, len(means), 0)
    return np.asarray(sums / counts)
