"""`waymark view`, `report` and `export` as processes, on run folders."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.commands import Command
from tests.integration.test_edited_runs import (
    with_an_unknown_task,
    with_another_task,
    with_fifo,
    with_nan,
    without_date,
)
from tests.samples import evaluation, result_of
from waymark.contracts import EvaluationRequest
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

Waymark = Callable[..., Command]
REQUEST = EvaluationRequest(tasks=("1-1", "4-2"), variations=(0,))


def written(path: Path, score: int = 50) -> RunFolder:
    run = RunFolder(path)
    run.begin(evaluation(path.name, REQUEST, episodes=2))
    for spec in episodes(path.name, REQUEST):
        run.append(result_of(spec, score=score))
    return run


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def test_view_serves_folders_without_a_stack(waymark: Waymark, tmp_path: Path) -> None:
    written(tmp_path / "kept" / "a")
    written(tmp_path / "kept" / "b")
    port = free_port()
    command = waymark("view", str(tmp_path / "kept"), "--port", str(port))
    command.read_until(f"2 runs are shown at http://127.0.0.1:{port}/")
    transport = httpx.HTTPTransport(retries=5)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, trust_env=False) as http:
        runs = http.get("/v1/runs").raise_for_status().json()["items"]
        assert {run["status"]["id"] for run in runs} == {"a", "b"}
        assert "<title>Waymark</title>" in http.get("/").raise_for_status().text
    command.process.terminate()
    assert command.process.wait(30) == 0


def test_view_names_damaged_runs_that_it_leaves_out(waymark: Waymark, tmp_path: Path) -> None:
    written(tmp_path / "kept" / "a")
    damaged = written(tmp_path / "kept" / "b").path / EPISODES
    damaged.write_text(damaged.read_text().replace('"score":50', '"score":1e999'))
    written(tmp_path / "kept" / "c")
    (tmp_path / "kept" / "c" / "evaluation.json").write_text("[")
    command = waymark("view", str(tmp_path / "kept"), "--port", "0")
    command.read_until("Run b is left out.")
    command.read_until("Run c is left out.")
    command.read_until("1 run is shown at")
    command.process.terminate()
    command.process.wait(30)

    code, _, err = waymark("view", str(tmp_path / "kept" / "b"), "--port", "0").wait()
    assert code == 2
    assert "Run b is left out." in err
    assert "None of these runs can be read" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("edit", [with_another_task, with_an_unknown_task, with_fifo, without_date, with_nan])
def test_view_leaves_out_what_report_refuses(
    waymark: Waymark, tmp_path: Path, edit: Callable[[RunFolder], None]
) -> None:
    run = written(tmp_path / "edited")
    edit(run)
    code, _, err = waymark("view", str(run.path), "--port", "0").wait()
    assert code == 2
    assert "Run edited is left out." in err
    assert str(run.path / (HEADER if edit in (without_date, with_an_unknown_task) else EPISODES)) in err


def test_view_refuses_other_folders_in_one_line(waymark: Waymark, tmp_path: Path) -> None:
    code, _, err = waymark("view", str(tmp_path / "nowhere")).wait()
    assert code == 2
    assert "has no evaluation.json" in err
    assert "Traceback" not in err


def test_a_report_is_written_as_a_page_and_as_tables(waymark: Waymark, tmp_path: Path) -> None:
    ours, theirs = written(tmp_path / "a").path, written(tmp_path / "b", score=70).path
    page = tmp_path / "report.html"
    code, out, err = waymark("report", str(ours), str(theirs), "--html", str(page)).wait()
    assert (code, out) == (0, ""), err
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = waymark("report", str(ours), "--markdown").wait()
    assert code == 0
    assert "| 4-2 | find-non-living-thing | 1 | 50.0 |" in out
    code, out, _ = waymark("report", str(ours)).wait()
    assert code == 0
    assert "Score 50.0" in out


def test_a_run_is_exported_for_inspect(waymark: Waymark, tmp_path: Path) -> None:
    run = written(tmp_path / "a").path
    command = waymark("export", str(run), "--format", "inspect")
    code, _, err = command.wait()
    assert code == 0, err
    [file] = command.folder.glob("*_waymark-quick_a.json")
    assert len(json.loads(file.read_text())["samples"]) == 2


@pytest.mark.parametrize("arguments", [("--html", "/nowhere/at/all.html"), ("--html", "/")])
def test_a_report_that_cannot_be_written_is_refused(
    waymark: Waymark, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    run = written(tmp_path / "a")
    code, _, err = waymark("report", str(run.path), *arguments).wait()
    assert code == 2
    assert "Traceback" not in err
    (run.path / EPISODES).write_text("{}\n")
    code, _, err = waymark("export", str(run.path), "--format", "inspect").wait()
    assert (code, "Traceback" in err) == (2, False)
