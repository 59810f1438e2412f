import io

import pytest
from rich.console import Console

from tests.samples import FIGURES, result_of, spec
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest
from waymark.evaluation.scores import summarise
from waymark.evaluation.terminal_report import render
from waymark.worlds.scienceworld.tasks import TASKS


def result(task: str, variation: int, error: str | None = None) -> EpisodeResult:
    """An episode that reached 35, or errored."""
    played = spec(id=f"{task}-{variation}", task=task, variation=variation)
    fault = EpisodeError(kind=error, message="It [died].") if error else None
    return result_of(played, score=35, error=fault).model_copy(update=dict(FIGURES))


RESULTS = [result(task.id, variation) for task in TASKS for variation in range(3)]


def text(results: list[EpisodeResult], width: int = 110) -> str:
    """What a person reads when the output is no terminal."""
    console = Console(file=io.StringIO(), width=width)
    console.print(render(summarise(results), EvaluationRequest()))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_table_names_the_source_of_published_figures() -> None:
    shown = text(RESULTS)
    assert "Score 35.0 of 100" in shown
    assert "95% interval: 35.0 to 35.0" in shown
    assert "An episode took 3 actions, 4 moves, 5 turns, 6 model calls, 0 tokens and 0.5 s" in shown
    assert "Agent: hierarchical; sub-goals: controller (on_end)" in shown
    for words in ("power-component", "SwiftSage", "65.4", "second-hand", "cannot be compared line by line"):
        assert words in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_figure_of_ours_is_cut_at_any_usual_width(width: int) -> None:
    shown = text(RESULTS, width)
    assert max(map(len, shown.splitlines())) <= width
    rows = [line for line in shown.splitlines() if line.split()[:1] == ["10-2"]]
    assert len(rows) == 1
    assert "35.0" in rows[0]


def test_errors_are_listed_by_kind_with_their_text_untouched() -> None:
    shown = text([*RESULTS, result("1-1", 9, "EnvironmentFault")])
    assert "EnvironmentFault" in shown
    assert "It [died]." in shown
    assert "1-1/9" in shown


def test_the_report_of_no_results_says_so() -> None:
    assert text([]).strip() == "No episode was finished."
