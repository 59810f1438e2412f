import json

import pytest

from tests.samples import FIGURES, result_of, spec
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest
from waymark.evaluation.json_report import evaluation_json
from waymark.evaluation.published_comparison import published_methods
from waymark.evaluation.scores import summarise
from waymark.worlds.registry import get_world
from waymark.worlds.scienceworld.tasks import GROUPS, TASKS


def result(
    task: str, raw: int, *, variation: int = 0, error: str | None = None, cancelled: bool = False
) -> EpisodeResult:
    """A result without its trajectory."""
    played = spec(id=f"{task}-{variation}", task=task, variation=variation)
    fault = EpisodeError(kind=error, message="It died.") if error else None
    return result_of(played, score=raw, stopped="cancelled" if cancelled else "completed", error=fault, **FIGURES)


def test_the_headline_is_the_mean_over_task_types() -> None:
    summary = summarise([result("1-1", 0), result("4-2", 100), result("4-2", 100, variation=1), result("4-3", 50)])
    assert summary.mean == 50
    assert summary.groups == {"short": 75, "long": 0}
    assert summary.success_rate == pytest.approx(1 / 3)


def test_negative_scores_count_as_zero_except_in_raw_means() -> None:
    summary = summarise([result("1-1", -100), result("1-1", 20, variation=1)])
    assert (summary.mean, summary.raw_mean, summary.last_nonnegative_mean) == (10, -40, 10)


def test_an_errored_episode_counts_zero_and_is_listed() -> None:
    summary = summarise([result("1-1", 80, error="EnvironmentFault"), result("1-1", 40, variation=1)])
    assert (summary.mean, summary.raw_mean) == (20, 20)
    assert [(error.kind, error.episodes) for error in summary.errors] == [("EnvironmentFault", ("1-1/0",))]


def test_a_cancelled_episode_does_not_count() -> None:
    assert summarise([result("1-1", 10, cancelled=True), result("1-1", 50)]).mean == 50


def test_the_interval_holds_the_mean_and_is_reproducible() -> None:
    results = [result(task, raw, variation=n) for task in ("1-1", "4-2") for n, raw in enumerate((0, 30, 60, 90))]
    summary = summarise(results)
    assert summary.ci95 is not None
    assert summary.ci95[0] < summary.mean < summary.ci95[1]
    assert summarise(results).ci95 == summary.ci95


def test_equal_scores_have_an_interval_without_width() -> None:
    assert summarise([result("1-1", 40, variation=n) for n in range(3)]).ci95 == (40, 40)


def test_effort_is_a_mean_over_all_episodes() -> None:
    long = result("4-2", 0).model_copy(update={"tokens": 300, "model_calls": 10, "seconds": 1.5})
    effort = summarise([result("1-1", 0), result("1-1", 0, variation=1), long]).effort
    assert (effort.tokens, effort.repaired) == (100, 1)
    assert effort.seconds == pytest.approx(2.5 / 3)
    assert effort.model_calls == pytest.approx(22 / 3)


def test_there_is_no_interval_from_too_few_variations() -> None:
    assert summarise([result("1-1", 40), result("1-1", 50, variation=1)]).ci95 is None
    assert summarise([]).ci95 is None


def test_the_json_document_has_the_documented_shape() -> None:
    results = [result("4-2", 100, variation=9), result("1-1", -100, variation=21)]
    document = evaluation_json("run", EvaluationRequest(), None, results)
    assert set(document) == {"evaluation", "protocol", "agent", "versions", "summary", "episodes"}
    assert {"mean", "ci95", "groups", "tasks"} <= set(document["summary"])
    assert document["summary"]["tasks"] == {"1-1": 0, "4-2": 100}
    fields = "task variation score raw_score last_nonnegative_score success moves actions turns model_calls repaired"
    assert set(document["episodes"][0]) == {*fields.split(), "tokens", "stopped", "error", "seconds"}
    assert [episode["task"] for episode in document["episodes"]] == ["1-1", "4-2"]
    assert json.loads(json.dumps(document)) == document


def test_the_published_columns_reproduce_the_published_means() -> None:
    tasks, methods = (
        get_world("scienceworld").published.tasks,
        {method.method: method for method in published_methods()},
    )
    for name in ("SayCan", "ReAct", "Reflexion", "SwiftSage"):
        assert sum(tasks[task.id][name] for task in TASKS) / 30 == pytest.approx(methods[name].overall, abs=0.05)
        for group in GROUPS:
            members = [tasks[task.id][name] for task in TASKS if task.group == group]
            assert sum(members) / len(members) == pytest.approx(methods[name].groups[group], abs=0.05)
