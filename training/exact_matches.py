"""Shares of exact matches by task type, over task types and overall, with intervals over variations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from waymark.evaluation.intervals import MIN_RESAMPLED, MIN_VARIATIONS, RESAMPLES

Interval = tuple[float, float]
_SEED = 0


@dataclass(frozen=True)
class Share:
    """The share of right decisions, 0 to 1, and its 95% bootstrap interval; None if there are too few variations."""

    exact_match: float
    ci95: Interval | None
    decisions: int
    variations: int


@dataclass(frozen=True)
class Matches:
    """Exact matches on a dataset."""

    task_mean: Share
    """Mean over task types of each type's share."""
    overall: Share
    """Share over all decisions, in which long paths weigh more."""
    tasks: dict[str, Share]
    """By task id."""


def matches(right: Mapping[str, Mapping[int, Sequence[bool]]]) -> Matches:
    """Compute the shares from the decisions, right or wrong, by task id and variation. There must be at least one.

    Intervals resample variations within their task. As in `waymark.evaluation.scores`, a task type with few variations
    has no interval and keeps its share in the overall ones.
    """
    random = np.random.default_rng(_SEED)
    hits, counts, means = np.zeros(RESAMPLES), np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    tasks: dict[str, Share] = {}
    for task, variations in right.items():
        won = np.array([sum(variation) for variation in variations.values()])
        totals = np.array([len(variation) for variation in variations.values()])
        enough = len(won) >= MIN_VARIATIONS
        drawn = random.integers(len(won), size=(RESAMPLES, len(won))) if enough else np.arange(len(won))[None]
        won_then, totals_then = won[drawn].sum(axis=1), totals[drawn].sum(axis=1)
        hits, counts, means = hits + won_then, counts + totals_then, means + won_then / totals_then
        interval = _interval(won_then / totals_then) if enough else None
        tasks[task] = Share(float(won.sum() / totals.sum()), interval, int(totals.sum()), len(won))
    shares = tasks.values()
    sure = sum(share.ci95 is not None for share in shares) >= MIN_RESAMPLED * len(tasks)
    decisions, played = sum(share.decisions for share in shares), sum(share.variations for share in shares)
    mean = sum(share.exact_match for share in shares) / len(tasks)
    overall = sum(share.exact_match * share.decisions for share in shares) / decisions
    return Matches(
        task_mean=Share(mean, _interval(means / len(tasks)) if sure else None, decisions, played),
        overall=Share(overall, _interval(hits / counts) if sure else None, decisions, played),
        tasks=tasks,
    )


def _interval(resampled: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    low, high = np.percentile(resampled, (2.5, 97.5))
    return float(low), float(high)
