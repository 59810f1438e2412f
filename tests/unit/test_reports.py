"""Reports and exports of finished runs: what they say, and that nothing in a run can break out of its place."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import samples
from waymark.agent.named_agents import AGENTS
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest, Opening, TurnRecord
from waymark.evaluation.comparison import Run
from waymark.evaluation.failure_modes import failure_modes
from waymark.evaluation.html_report import html_report, wanted_examples
from waymark.evaluation.inspect_log import inspect_log, log_name
from waymark.evaluation.markdown_report import markdown_report
from waymark.evaluation.report_files import export_as
from waymark.evaluation.run_differences import compare_runs
from waymark.evaluation.run_folder import RunFolder

HOSTILE = "<script>alert(1)</script> | `x` <img src=//evil.example/x onerror=alert(1)> \"quoted\" 'too'"
DIED = EpisodeError(kind="EnvironmentFault", message=HOSTILE)


def turns() -> tuple[TurnRecord, ...]:
    return (
        TurnRecord(
            turn=1, subgoal="go(kitchen)", controller_called=True, action="go to kitchen", proposed="go to kitchen",
            logprob=-0.1, observation="You move.", score=40, reward=40, seconds=0.5,
        ),
        TurnRecord(
            turn=2, subgoal="go(kitchen)", controller_called=False, action=None, proposed=None, logprob=-0.2, score=40
        ),
        TurnRecord(
            turn=3, subgoal=HOSTILE, controller_called=True, action=HOSTILE[:400], proposed=HOSTILE, logprob=-3.0,
            observation=HOSTILE, score=40, rules=("no_repetition",),
        ),
    )  # fmt: skip


def played(scores: dict[str, list[int]], run: str = "a") -> list[EpisodeResult]:
    results = []
    for task, of_task in scores.items():
        for variation, score in enumerate(of_task):
            sample = samples.result(
                f"{run}_{task}_{variation}", evaluation=run, task=task, variation=variation, score=score
            )
            opening = Opening(task="Boil water.", look="A room.", inventory="nothing")
            results.append(sample.model_copy(update={"trajectory": turns(), "opening": opening}))
    return results


def run(name: str, results: list[EpisodeResult], agent: str = "hierarchical") -> Run:
    return Run(name, EvaluationRequest(agent=AGENTS[agent]), samples.VERSIONS, results)


class Page(HTMLParser):
    """The elements of a page, their attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def report() -> tuple[Page, str]:
    ours = [
        *played({"4-2": [100, 40, 0], "1-1": [40, 40, 40]}),
        samples.result("a_bad", task="7-1", score=0, error=DIED),
    ]
    theirs = played({"4-2": [100, 100, 100], "1-1": [0, 0, 0]}, "b")
    runs = [run("a", ours), run("b", theirs, "flat")]
    wanted = {episode for _, episode in wanted_examples(runs)}
    text = html_report(runs, {result.id: result for result in [*ours, *theirs] if result.id in wanted})
    return Page(text), text


def test_a_report_page_needs_nothing_from_elsewhere() -> None:
    page, text = report()
    assert not {tag for tag, _ in page.elements} & {"script", "img", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "src=" not in re.sub(r"&lt;.*?&gt;", "", text)
    assert "default-src 'none'" in text


def test_texts_of_a_run_are_escaped_in_a_report() -> None:
    page, _ = report()
    assert HOSTILE in page.text
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links
    assert {f"#{target}" for target in ids} >= links


def test_a_report_page_holds_plots_failures_and_differences() -> None:
    page, _ = report()
    plots = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert any("Scores of hierarchical" in str(plot) for plot in plots)
    assert any("Differences by task type of flat" in str(plot) for plot in plots)
    for words in ("Error: EnvironmentFault", "Out of moves, with some points", "flat minus hierarchical", "Cost"):
        assert words in page.text


def test_a_markdown_report_keeps_its_tables_whole() -> None:
    ours = [*played({"4-2": [100, 40]}), samples.result("bad", task="1-1", score=0, error=DIED)]
    text = markdown_report([run("a|b", ours), run("c", played({"4-2": [0, 0]}, "c"), "flat")])
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = block.strip().splitlines()
        columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(columns) == 1, block
    assert "<script" not in text
    assert "### Minus hierarchical" in text


def test_failure_modes_are_counted_with_an_example() -> None:
    results = [*played({"4-2": [100, 40, 0], "1-1": [40]}), samples.result("bad", task="7-1", score=0, error=DIED)]
    left = samples.result("left", task="7-1", score=0).model_copy(update={"stopped": "cancelled"})
    modes = {mode.name: mode for mode in failure_modes([*results, left])}
    assert {name: len(mode.episodes) for name, mode in modes.items()} == {
        "Out of moves, with some points": 2,
        "Out of moves, without a point": 1,
        "Error: EnvironmentFault": 1,
    }
    assert modes["Out of moves, with some points"].tasks == {"4-2": 1, "1-1": 1}
    assert modes["Error: EnvironmentFault"].example == "bad"


def test_differences_by_task_are_paired() -> None:
    changes = compare_runs(
        [
            run("a", played({"4-2": [10, 20, 90], "1-1": [5, 5]})),
            run("b", played({"4-2": [15, 25, 95], "1-1": [5, 0]}, "b"), "flat"),
        ]
    )
    tasks = {task.task: task for task in changes.tasks}
    assert (tasks["4-2"].difference, tasks["4-2"].ci95) == (5, (5, 5))
    assert (tasks["1-1"].difference, tasks["1-1"].ci95) == (-2.5, None)
    changed = {(episode.task, episode.variation) for episode in changes.changed}
    assert changed == {("4-2", 0), ("4-2", 1), ("4-2", 2), ("1-1", 1)}


# --- Inspect AI ---------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    evaluation = samples.evaluation("a", EvaluationRequest(tasks=("4-2", "1-1")), episodes=4)
    results = [*played({"4-2": [100], "1-1": [40]}), samples.result("bad", task="7-1", score=0, error=DIED)]
    file = tmp_path / log_name(evaluation)
    file.write_bytes(b"".join(inspect_log(evaluation, lambda: results)))
    return file


def test_an_inspect_log_has_a_sample_for_each_episode(log: Path) -> None:
    document = json.loads(log.read_text())
    assert document["status"] == "cancelled"  # one episode lacks
    assert [sample["id"] for sample in document["samples"]] == ["4-2/0", "1-1/0", "7-1/21"]
    solved, unsolved, errored = document["samples"]
    assert [event["event"] for event in solved["events"]] == ["info", "tool", "score", "info", "info", "tool", "score"]
    assert solved["events"][1]["result"] == "You move."
    assert (solved["scores"]["score"]["value"], unsolved["scores"]["success"]["value"]) == (100, 0)
    assert errored["error"]["message"] == f"EnvironmentFault: {HOSTILE}"


def test_inspect_reads_the_log(log: Path) -> None:
    python = os.environ.get("WAYMARK_INSPECT_PYTHON")
    if not python:
        pytest.skip("WAYMARK_INSPECT_PYTHON names no Python that has inspect-ai")
    script = (
        "import sys; from inspect_ai.log import list_eval_logs, read_eval_log\n"
        "[found] = list_eval_logs(sys.argv[1]); log = read_eval_log(found)\n"
        "print([(s.id, s.scores['score'].value, len(s.events), s.error is not None) for s in log.samples])"
    )
    answer = subprocess.run(
        [python, "-c", script, str(log.parent)], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.stdout.strip() == "[('4-2/0', 100, 7, False), ('1-1/0', 40, 7, False), ('7-1/21', 0, 2, True)]", (
        answer.stderr
    )


def test_a_run_folder_is_exported_into_a_folder_by_name(tmp_path: Path) -> None:
    evaluation = samples.evaluation("a", EvaluationRequest(tasks=("4-2",), variations=(0,)), episodes=1)
    folder = RunFolder(tmp_path / "a")
    folder.begin(evaluation)
    folder.append(played({"4-2": [100]})[0])
    message = export_as(folder.path, tmp_path, "inspect")
    assert log_name(evaluation) in message
    assert json.loads((tmp_path / log_name(evaluation)).read_text())["status"] == "success"
