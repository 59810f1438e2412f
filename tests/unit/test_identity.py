"""Which checkpoints made results, as light and whole results of this and of older versions tell it."""

from __future__ import annotations

import pytest

from tests.samples import CONTROLLER, EXECUTOR, VERSIONS, result
from waymark.contracts import EpisodeResult, MadeBy, Versions
from waymark.errors import InvalidInput
from waymark.evaluation.checkpoint_identity import check_results, differences

OURS = VERSIONS.model_copy(update={"executor": EXECUTOR.model_copy(update={"sha256": "a" * 64})})
THEIRS = OURS.model_copy(update={"executor": EXECUTOR.model_copy(update={"sha256": "b" * 64})})
OTHER_TYPE = OURS.model_copy(update={"executor": OURS.executor.model_copy(update={"dtype": "int8"})})
OTHER_CONTROLLER = OURS.model_copy(update={"controller": CONTROLLER.model_copy(update={"sha256": "c" * 64})})
WITH_FIRST = OURS.model_copy(update={"first": CONTROLLER.model_copy(update={"role": "first", "sha256": "f" * 64})})


def light(executor: str | None, controller: str | None = None) -> EpisodeResult:
    return result("x").model_copy(update={"checkpoints": MadeBy(executor=executor, controller=controller)})


def in_full(versions: Versions | None) -> EpisodeResult:
    """As a version wrote it that checked no answers."""
    return result("x").model_copy(update={"versions": versions})


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result("x")],
        [light("a" * 12), light("a" * 12, ""), light(None)],
        [in_full(OURS), in_full(None), light("a" * 12)],
    ],
)
def test_results_of_one_checkpoint_pass(results: list[EpisodeResult]) -> None:
    check_results("e", OURS, results)


@pytest.mark.parametrize(
    "foreign",
    [
        light("b" * 12),
        light(""),
        light("a" * 12, "c" * 12),
        light("a" * 11 + "b"),
        in_full(THEIRS),
        in_full(OTHER_TYPE),
        in_full(OTHER_CONTROLLER),
        in_full(WITH_FIRST),
        result("x").model_copy(update={"checkpoints": MadeBy(first="f" * 12)}),
    ],
)
def test_one_result_of_another_checkpoint_is_a_mixture(foreign: EpisodeResult) -> None:
    with pytest.raises(InvalidInput, match=r"episodes of e were not all played by its .*: \d by "):
        check_results("e", OURS, [light("a" * 12, ""), foreign])


def test_a_mixture_names_both_hashes_and_how_many_episodes() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_results("e", OURS, [light("a" * 12), light("a" * 12), light("b" * 12)])
    assert "2 by scripted (aaaaaaaaaaaa, compact, scripted none), 1 by bbbbbbbbbbbb" in str(caught.value)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (THEIRS, "executor"),
        (OTHER_TYPE, "executor"),
        (OTHER_CONTROLLER, "controller"),
        (WITH_FIRST, "first sub-goal's controller"),
        (OURS.model_copy(update={"environment": "scienceworld 1.2.3"}), "environment"),
        (OURS.model_copy(update={"planner": "m at x"}), "planner"),
    ],
)
def test_differences_are_named_from_either_side(now: Versions, expected: str) -> None:
    assert [difference.what for difference in differences(OURS, now)] == [expected]
    assert [difference.what for difference in differences(now, OURS)] == [expected]


def test_versions_of_waymark_and_addresses_may_differ() -> None:
    here = OURS.model_copy(update={"environment": "scienceworld 1.2.3", "planner": "m at http://a"})
    there = here.model_copy(
        update={
            "waymark": "9",
            "commit": "abc",
            "environment": "scienceworld (not installed where the env-runner's app runs)",
            "planner": "m at http://b",
        }
    )
    assert differences(here, there) == []
    assert [
        difference.what for difference in differences(here, here.model_copy(update={"environment": "scienceworld 2"}))
    ]
