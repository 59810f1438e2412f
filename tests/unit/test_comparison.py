"""Several agents on the same variations: what is compared, what is not, and how sure a difference is."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import pytest
from rich.console import Console

from tests import samples
from waymark.agent.named_agents import AGENTS, find_agents, name_of
from waymark.contracts import AgentConfig, EpisodeError, EpisodeResult, EvaluationRequest
from waymark.errors import InvalidInput
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.terminal_report import render_comparison

DIED = EpisodeError(kind="EnvironmentFault", message="It died.")


def results(task: str, scores: Sequence[int], error: EpisodeError | None = None) -> list[EpisodeResult]:
    return [
        samples.result(f"{task}_{variation}", task=task, variation=variation, score=score, error=error)
        for variation, score in enumerate(scores)
    ]


def run(name: str, *played: list[EpisodeResult], agent: str = "hierarchical") -> Run:
    results = [result for of_task in played for result in of_task]
    return Run(name, EvaluationRequest(agent=AGENTS[agent]), samples.VERSIONS, results)


# --- agents by name ----------------------------------------------------------------------------------------


def test_agents_are_found_by_name_in_their_order_each_once() -> None:
    assert [name_of(agent) for agent in find_agents(["flat,oracle", "hierarchical", "flat"])] == [
        "flat",
        "oracle",
        "hierarchical",
    ]
    assert not any(agent.repair for agent in find_agents(["flat,random"], repair=False))


@pytest.mark.parametrize("names", [["flat,swift"], [","]])
def test_an_unknown_agent_is_refused_with_the_known_ones(names: list[str]) -> None:
    with pytest.raises(InvalidInput, match="agent") as refused:
        find_agents(names)
    assert "semi_random" in refused.value.remedy


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        *((agent, name) for name, agent in AGENTS.items()),
        (AgentConfig(repair=False), "hierarchical, no repair"),
        (AgentConfig(subgoals="random", controller_calls="every_step"), "random, every step"),
        (AgentConfig(executor_model="large"), "hierarchical, executor large"),
    ],
)
def test_an_agent_is_named_by_its_preset_and_its_changes(agent: AgentConfig, name: str) -> None:
    assert name_of(agent) == name


# --- what is compared --------------------------------------------------------------------------------------


def test_only_variations_that_all_runs_finished_count() -> None:
    cancelled = samples.result("4-2_2", task="4-2", variation=2, score=0).model_copy(update={"stopped": "cancelled"})
    ours = run("ours", results("4-2", [0, 100]), [cancelled], results("1-1", [50]))
    theirs = run("theirs", results("4-2", [100, 100, 100]), agent="flat")
    comparison = compare([ours, theirs])
    assert (comparison.task_types, comparison.variations) == (1, 2)
    assert [agent.mean for agent in comparison.agents] == [50, 100]
    assert comparison.notes[:2] == (
        "hierarchical has 1 more variations, which do not count.",
        "flat has 1 more variations, which do not count.",
    )


def test_runs_that_share_no_variation_are_refused() -> None:
    with pytest.raises(InvalidInput, match="share no variation"):
        compare([run("a", results("4-2", [1])), run("b", results("4-3", [1]))])
    with pytest.raises(InvalidInput, match="One run alone"):
        compare([run("a", results("4-2", [1]))])


def test_a_difference_is_a_mean_over_task_types() -> None:
    base = run("base", results("4-2", [10, 20]), results("1-1", [40]))
    other = run("other", results("4-2", [30, 20]), results("1-1", [0], error=DIED), agent="random")
    comparison = compare([base, other])
    (difference,) = comparison.differences
    assert (difference.agent, difference.baseline) == ("random", "hierarchical")
    assert difference.mean == ((20 + 0) / 2 + (0 - 40)) / 2
    assert (difference.better, difference.equal, difference.worse) == (1, 1, 1)
    assert difference.ci95 is None
    assert comparison.agents[1].errors == {"EnvironmentFault": 1}


def test_the_interval_of_a_difference_is_paired() -> None:
    """Scores that differ by the same on every variation, however much those differ, leave no doubt."""
    chance = random.Random(0)
    scores = {task: [chance.randrange(90) for _ in range(10)] for task in ("1-1", "4-2", "7-1")}
    base = run("base", *(results(task, of_task) for task, of_task in scores.items()))
    better = run("better", *(results(task, [score + 5 for score in of_task]) for task, of_task in scores.items()))
    (difference,) = compare([base, better]).differences
    assert (difference.mean, difference.ci95) == (5, (5, 5))
    shuffled = run("other", *(results(task, of_task[::-1]) for task, of_task in scores.items()), agent="flat")
    (difference,) = compare([base, shuffled]).differences
    assert difference.ci95 is not None
    assert difference.ci95[0] < difference.mean == 0 < difference.ci95[1]


def test_other_differences_between_runs_are_noted() -> None:
    base, other = run("a", results("4-2", [1])), run("b", results("4-2", [1]), agent="random")
    assert compare([base, other]).notes == ()
    slower = Run("c", other.request.model_copy(update={"protocol": "swiftsage"}), None, other.results)
    assert compare([base, slower]).notes == ("Not only the agents differ: protocols.",)


def test_the_table_shows_each_agents_score_difference_and_effort() -> None:
    base = run("a", results("4-2", [10, 20, 30]), results("1-1", [40, 40, 40]))
    other = run("b", results("4-2", [30, 20, 60]), results("1-1", [0, 0, 0], error=DIED), agent="random")
    console = Console(file=io.StringIO(), width=80)
    console.print(render_comparison(compare([base, other])))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    rows = [line.split() for line in lines]
    assert "6 shared variations of 2 task types" in lines[0]
    assert ["4-2", "find-non-living-thing", "20.0", "36.7"] in rows
    assert ["random", "-11.7", "-20.0", "to", "-5.0", "2", "1", "3"] in rows
    assert ["model", "calls", "1", "1"] in rows
    assert ["episodes", "errored", "0", "3"] in rows
    assert "random: 3 episodes errored with EnvironmentFault, counted as 0." in "".join(lines)
    assert max(map(len, lines)) <= 80
