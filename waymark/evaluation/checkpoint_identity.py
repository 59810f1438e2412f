"""The checkpoints for which an evaluation was submitted, and the check that no others made its results.

A checkpoint is the same if its hash is, and the engine and number type that it runs with: another engine may answer
differently with the same weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from waymark.contracts import Asked, CheckpointInfo, EpisodeResult, Versions
from waymark.errors import InvalidInput

ASKED: Final[dict[Asked, str]] = {
    "controller": "controller",
    "first": "first sub-goal's controller",
    "executor": "executor",
}
"""The names of an evaluation's checkpoints in messages."""
HASH_DIGITS: Final = 12
"""Number of digits of a hash that names a checkpoint."""


class Difference(NamedTuple):
    """One difference from the state at the submission of an evaluation."""

    what: str
    expected: str
    found: str


def model_of(versions: Versions, asked: Asked) -> CheckpointInfo | None:
    """One checkpoint of an evaluation; None if its agent does not ask it."""
    return {"controller": versions.controller, "first": versions.first, "executor": versions.executor}[asked]


def short_hash(sha256: str) -> str:
    """The short hash by which results name a checkpoint."""
    return sha256[:HASH_DIGITS]


def describe(model: CheckpointInfo | None) -> str:
    """A text about a checkpoint and its runtime, different for any two that differ."""
    if model is None:
        return "none"
    return f"{model.checkpoint} ({short_hash(model.sha256)}, {model.prompt_format}, {model.runtime})"


def differences(before: Versions, now: Versions) -> list[Difference]:
    """The differences between the present versions and those at the submission of an evaluation. The version of waymark
    may differ.

    An environment's version counts only where both are known, and of a planner its model: the app and its workers may
    know its endpoint under different addresses.
    """
    changes = [
        Difference(name, describe(model_of(before, asked)), describe(model_of(now, asked)))
        for asked, name in ASKED.items()
        if describe(model_of(before, asked)) != describe(model_of(now, asked))
    ]
    if not _same_environment(before.environment, now.environment):
        changes.insert(0, Difference("environment", before.environment, now.environment))
    if _planner_model(before.planner) != _planner_model(now.planner):
        changes.append(Difference("planner", before.planner or "none", now.planner or "none"))
    return changes


class Makers:
    """Counts which checkpoints made the results of one evaluation.

    Light results tell it by their short hashes. Results of older versions name only in full what they were played with.
    """

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._counts: dict[Asked, Counter[str]] = {}

    def add(self, result: EpisodeResult) -> EpisodeResult:
        """Count one more; returns it."""
        for asked in ASKED:
            made_by = _maker(result, asked, model_of(self._versions, asked))
            if made_by is not None:
                self._counts.setdefault(asked, Counter())[made_by] += 1
        return result

    def check(self, evaluation: str) -> None:
        """Raise InvalidInput if a checkpoint that is not the evaluation's made one of them."""
        for asked, counter in self._counts.items():
            expected = describe(model_of(self._versions, asked))
            if set(counter) != {expected}:
                played = ", ".join(f"{count} by {made_by}" for made_by, count in counter.most_common())
                raise InvalidInput(
                    f"The episodes of {evaluation} were not all played by its {ASKED[asked]} {expected}: {played}.",
                    remedy="Its scores cannot be used. Export the episodes if you need them, and play them again.",
                    field=f"versions.{asked}",
                )


def check_results(evaluation: str, versions: Versions, results: Iterable[EpisodeResult]) -> None:
    """Raise InvalidInput if a checkpoint that is not the evaluation's made one of these results."""
    makers = Makers(versions)
    for result in results:
        makers.add(result)
    makers.check(evaluation)


def _maker(result: EpisodeResult, asked: Asked, expected: CheckpointInfo | None) -> str | None:
    """The checkpoint that made a result's decisions, as `describe` names it; None if the result does not."""
    if result.versions is not None and (model := model_of(result.versions, asked)) != expected:
        return describe(model)
    made_by = getattr(result.checkpoints, asked, None)
    if made_by is not None and (expected is None or made_by != short_hash(expected.sha256)):
        return made_by or "a model without weights"
    return describe(expected) if made_by is not None or result.versions is not None else None


def _same_environment(before: str, now: str) -> bool:
    (name, _, version), (other_name, _, other_version) = before.partition(" "), now.partition(" ")
    unknown = version.startswith("(") or other_version.startswith("(")
    return name == other_name and (unknown or version == other_version)


def _planner_model(planner: str | None) -> str | None:
    return None if planner is None else planner.partition(" at ")[0]
