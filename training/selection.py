"""Dev scores: decide which weights of a run are kept, and compare scores with a baseline."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from training.datasets import Example
from waymark.worlds.base import decision_of

_VERB: Final = re.compile(r"\w*")
_VERBS: Final = 12
"""Number of verbs with figures of their own: the most frequent ones. Answers of a large model may begin with
hundreds."""
OTHER: Final = "other"
DEV_SCORES: Final = "dev.json"
"""File in the folder of a run's best weights, with their step and dev scores."""


@dataclass(frozen=True)
class DevScores:
    """Offline scores on dev: teacher-forced loss in nats a token, and exact match of greedy answers, 0 to 1."""

    loss: float
    exact_match: float
    by_verb: dict[str, float] = field(default_factory=dict)
    """Exact match of the answers that begin with a verb, 0 to 1."""

    def is_better_than(self, other: DevScores) -> bool:
        """Whether more answers are right, or as many with a lower loss."""
        return (self.exact_match, -self.loss) > (other.exact_match, -other.loss)

    def replaces(self, best: DevScores) -> bool:
        """Whether these weights are kept instead of the best so far: they are better, or as good and trained longer.

        Weights whose loss is no number are kept only where there are no others.
        """
        if not math.isfinite(self.loss):
            return not math.isfinite(best.loss)
        return not (math.isfinite(best.loss) and best.is_better_than(self))


@dataclass(frozen=True)
class Baseline:
    """The baseline of a dev score: always the most frequent answer of the train examples."""

    answer: str
    exact_match: float
    """Exact match of that answer on dev, 0 to 1."""
    verbs: dict[str, int]
    """Verb to how many dev answers begin with it, most frequent first."""

    @classmethod
    def of(cls, train: Sequence[Example], dev: Sequence[Example]) -> Baseline:
        """Compute it from the examples of a run; there must be some in both splits."""
        answer = Counter(example.target for example in train).most_common(1)[0][0]
        share = sum(example.target == answer for example in dev) / len(dev)
        return cls(answer, share, dict(Counter(verbs_of(dev)).most_common()))


def verb_of(target: str) -> str:
    """The first word of an answer, without a reason before it."""
    match = _VERB.match(decision_of(target))
    return match.group() if match and match.group() else OTHER


def verbs_of(corpus: Sequence[Example]) -> list[str]:
    """The verb of each example; rare ones are `other`."""
    verbs = [verb_of(example.target) for example in corpus]
    frequent = {verb for verb, _ in Counter(verbs).most_common(_VERBS)}
    return [verb if verb in frequent else OTHER for verb in verbs]


def share_by_verb(corpus: Sequence[Example], right: Sequence[bool]) -> dict[str, float]:
    """Exact match by verb, 0 to 1, the most frequent verb first. `right` has a place for each example."""
    counts: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for verb, hit in zip(verbs_of(corpus), right, strict=True):
        counts[verb] += 1
        hits[verb] += hit
    return {verb: hits[verb] / count for verb, count in counts.most_common()}
