"""Variations that are played several times: ids, order, figures, comparison and files."""

from __future__ import annotations

import csv
import io

import pytest
from pyarrow import parquet
from pydantic import ValidationError
from rich.console import Console

from tests import samples
from tests.scripted_agent import acting
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationRequest, Limits
from waymark.errors import InvalidInput
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.export import encode
from waymark.evaluation.json_report import evaluation_json
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.scores import summarise
from waymark.evaluation.terminal_report import render, render_comparison
from waymark.worlds.scripted.environment import ScriptedEnvironment

ID_OF_TODAY = "4-2_225_3fe3fd223545"
"""Of an evaluation that was played before repeats were there (`waymark.serving.api.examples`)."""


def played(task: str, *scores: tuple[int, ...]) -> list[EpisodeResult]:
    """Results of one task: of each variation, of each repeat."""
    return [
        samples.result(f"{task}_{variation}_{repeat}", task=task, variation=variation, score=score).model_copy(
            update={"repeat": repeat}
        )
        for variation, plays in enumerate(scores)
        for repeat, score in enumerate(plays)
    ]


def shown(*results: list[EpisodeResult], repeats: int) -> str:
    console = Console(file=io.StringIO(), width=200)
    played_results = [result for of_task in results for result in of_task]
    console.print(render(summarise(played_results), EvaluationRequest(repeats=repeats)))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


# --- which episodes ----------------------------------------------------------------------------------------


def test_ids_of_single_plays_are_those_of_today() -> None:
    request = EvaluationRequest(tasks=("4-2",), variations=(225,))
    assert [spec.id for spec in episodes("20261122-174938-quick-ef712d", request)] == [ID_OF_TODAY]


def test_all_first_repeats_come_before_the_second_ones() -> None:
    once = episodes("e", EvaluationRequest(protocol="seed"))
    twice = episodes("e", EvaluationRequest(protocol="seed", repeats=2))
    assert twice[: len(once)] == once
    again = twice[len(once) :]
    assert [(spec.task, spec.variation) for spec in again] == [(spec.task, spec.variation) for spec in once]
    assert {spec.repeat for spec in again} == {1}
    assert len({spec.id for spec in twice}) == len(twice)


@pytest.mark.parametrize("repeats", [0, -1, 101, 1.5, "many"])
def test_repeats_are_a_number_from_1_to_100(repeats: object) -> None:
    with pytest.raises(ValidationError, match="repeats"):
        EvaluationRequest.model_validate({"repeats": repeats})


def test_too_many_episodes_are_refused_before_they_are_made() -> None:
    assert len(episodes("e", EvaluationRequest(protocol="full", repeats=10))) == 18_190
    with pytest.raises(InvalidInput, match="181,900 episodes") as refused:
        episodes("e", EvaluationRequest(protocol="full", repeats=100))
    assert refused.value.field == "repeats"


def test_data_from_before_repeats_load_as_the_first_play() -> None:
    old = samples.result("a").model_dump(exclude={"repeat"})
    assert EpisodeResult.model_validate(old).repeat == 0
    spec = episodes("e", EvaluationRequest())[0].model_dump(exclude={"repeat"})
    assert EpisodeSpec.model_validate(spec).repeat == 0
    assert EvaluationRequest.model_validate({"protocol": "quick"}).repeats == 1


@pytest.mark.anyio
async def test_random_subgoals_are_drawn_anew_in_each_repeat() -> None:
    async def subgoals(repeat: int) -> list[str | None]:
        request = EvaluationRequest(
            tasks=("4-2",), variations=(0,), repeats=3, agent=AGENTS["random"], limits=Limits(moves=99, turns=3)
        )
        spec = episodes("e", request)[repeat]
        result = await run_episode(spec, ScriptedEnvironment(), None, acting("look around"))
        assert result.repeat == repeat
        return [turn.subgoal for turn in result.trajectory]

    first, again, second = await subgoals(0), await subgoals(0), await subgoals(1)
    assert first == again != second


# --- figures ----------------------------------------------------------------------------------------------


def test_a_variation_weighs_the_same_however_often_it_was_played() -> None:
    summary = summarise([*played("1-1", (0, 0, 0), (100,)), *played("4-2", (50,))])
    assert summary.mean == 50
    assert (summary.tasks[0].mean, summary.tasks[0].episodes) == (50, 4)


def test_repeats_give_an_interval_of_play_inside_the_whole_interval() -> None:
    summary = summarise(played("1-1", (0, 20), (40, 60), (80, 100)))
    assert summary.repeats == 2
    assert summary.repeat_means == (40, 60)
    assert summary.ci95 is not None
    assert summary.ci95_play is not None
    assert summary.ci95[0] < summary.ci95_play[0] < summary.mean < summary.ci95_play[1] < summary.ci95[1]


def test_one_play_gives_no_interval_of_play() -> None:
    once = summarise(played("1-1", (0,), (40,), (80,)))
    assert (once.repeats, once.ci95_play, once.repeat_means) == (1, None, ())
    assert any("played once" in note for note in once.randomness)
    assert "played once" in shown(played("1-1", (0,), (40,), (80,)), repeats=1)
    assert "simulator" in shown(played("1-1", (0,), (40,), (80,)), repeats=1)


def test_the_closing_table_shows_both_intervals_and_each_repeat() -> None:
    text = shown(played("1-1", (0, 20), (40, 60), (80, 100)), repeats=2)
    assert "The interval includes the choice of variations and the randomness of play" in text
    assert "Repeats scored 40.0, 60.0" in text
    assert "played once" not in text


def test_the_document_names_the_repeat_of_each_episode() -> None:
    results = played("1-1", (0, 20), (40, 60), (80, 100))
    document = evaluation_json("run", EvaluationRequest(repeats=2), None, results[::-1])
    places = [(episode["variation"], episode["repeat"]) for episode in document["episodes"]]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    summary = document["summary"]
    assert (summary["repeats"], summary["repeat_means"]) == (2, [40, 60])
    assert summary["ci95_play"] == summary["tasks_ci95_play"]["1-1"]
    assert summary["randomness"]
    once = evaluation_json("run", EvaluationRequest(), None, played("1-1", (0,)))
    assert "repeat" not in once["episodes"][0]


def test_files_have_a_column_for_the_repeat() -> None:
    results = played("1-1", (0, 20))
    rows = csv.DictReader(io.StringIO(b"".join(encode(results, "csv")).decode(), newline=""))
    assert [row["repeat"] for row in rows] == ["0", "1"]
    table = parquet.ParquetFile(io.BytesIO(b"".join(encode(results, "parquet")))).read()
    assert table.column("repeat").to_pylist() == [0, 1]


# --- comparison --------------------------------------------------------------------------------------------


def run(name: str, *results: list[EpisodeResult]) -> Run:
    played_results = [result for of_task in results for result in of_task]
    return Run(name, EvaluationRequest(), samples.VERSIONS, played_results)


def test_repeats_are_compared_in_pairs() -> None:
    base, better = ((0, 50), (20, 70), (40, 90)), ((10, 60), (30, 80), (50, 100))
    comparison = compare([run("a", played("1-1", *base)), run("b", played("1-1", *better))])
    (difference,) = comparison.differences
    assert (comparison.variations, comparison.repeats) == (3, 2)
    assert (difference.mean, difference.better) == (10, 3)
    assert difference.ci95 == difference.ci95_play == pytest.approx((10, 10))


def test_randomness_of_play_widens_the_interval_of_a_difference() -> None:
    base, other = ((50, 50),) * 6, ((0, 100),) * 6
    (difference,) = compare([run("a", played("1-1", *base)), run("b", played("1-1", *other))]).differences
    assert (difference.mean, difference.equal) == (0, 6)
    assert difference.ci95 is not None
    assert difference.ci95[0] < -10
    assert difference.ci95[1] > 10


def test_only_plays_that_both_runs_have_are_compared() -> None:
    once, thrice = played("1-1", (0,), (10,), (20,)), played("1-1", (5, 100, 100), (15, 0, 0), (25, 1, 2))
    comparison = compare([run("a", once), run("b", thrice)])
    assert (comparison.variations, comparison.repeats, comparison.differences[0].mean) == (3, 1, 5)
    assert any("6 more plays" in note for note in comparison.notes)
    console = Console(file=io.StringIO(), width=200)
    console.print(render_comparison(comparison))
    assert "played once by each agent" in console.file.getvalue()  # type: ignore[attr-defined]
