"""Tables and progress on narrow terminals: no figure is cut, and what is left out is named."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tests.unit.test_report import RESULTS, result
from waymark.agent.named_agents import AGENTS
from waymark.cli.evaluation_progress import LiveProgress
from waymark.commands.console import SafeConsole
from waymark.contracts import EvaluationRequest
from waymark.evaluation.comparison import Run, compare
from waymark.evaluation.scores import summarise
from waymark.evaluation.terminal_report import render, render_comparison
from waymark.terminal_table import Column, FittingTable
from waymark.worlds.scienceworld.tasks import TASKS

WIDTHS = [30, 40, 60, 80, 100, 160]


def printed(renderable: object, width: int, *, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def table(*, rows: int = 3) -> FittingTable:
    shown = FittingTable(
        [Column("Name", cut=True), Column("Score", justify="right"), *(Column(f"C{n}", drop=n) for n in range(8))],
        title="A table",
    )
    for _ in range(rows):
        shown.add_row("a name of thirty characters or so", "1234.5", *("98765.4" for _ in range(8)))
    return shown


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_keeps_its_figures_and_fits(width: int) -> None:
    text = printed(table(), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("1234.5") == 3
    for figure in re.findall(r"9[0-9.…]*", text.partition("Not shown")[0]):
        assert figure == "98765.4"


@pytest.mark.parametrize("width", WIDTHS)
def test_omitted_columns_are_named(width: int) -> None:
    text = " ".join(printed(table(), width).split())
    body, _, left_out = text.partition("Not shown for want of width:")
    for number in range(8):
        assert (f"C{number}" in body) != (f"C{number}," in left_out or f"C{number}." in left_out)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_of_thirty_tasks_has_every_score(width: int) -> None:
    results = [*RESULTS, result("1-1", 9, "EnvironmentFault")]
    text = printed(render(summarise(results), EvaluationRequest()), width)
    assert max(map(len, text.splitlines())) <= width
    lines = [line.split() for line in text.splitlines()]
    for task in TASKS:
        [row] = [words for words in lines if words[:1] == [task.id]]
        assert {"35.0", "26.2"} & set(row), row
    if width < 100:
        assert "Not shown for want of width" in " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_of_many_agents_names_omitted_columns(width: int) -> None:
    runs = [Run(name, EvaluationRequest(agent=agent), None, RESULTS) for name, agent in list(AGENTS.items())[:6]]
    text = printed(render_comparison(compare(runs)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.partition("By task")[0]
    assert "35.0" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_progress_shows_bar_count_mean_and_score(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    progress = LiveProgress(console)
    progress.begin(1_819)
    for number in range(1_200):
        progress.finished(result("3-2", number))
    lines = printed(progress._bar, width, terminal=True).splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    assert "1200/1819" in lines[0]
    assert "mean 35.0" in lines[0]
    assert lines[0].count("━") >= 6
    assert lines[1].startswith("score 35: 3-2")


@pytest.mark.parametrize("text", ["a[/b]", "[red]x", "[link=x]", ":cat:", "[", "\\["])
def test_texts_that_look_like_markup_are_printed_as_they_are(text: str) -> None:
    console = SafeConsole(file=io.StringIO(), width=100)
    shown = FittingTable([Column(text)], title=text)
    shown.add_row(text)
    console.print(shown)
    console.print(f"{text} is written.")
    assert console.file.getvalue().count(text) == 4  # type: ignore[attr-defined]
