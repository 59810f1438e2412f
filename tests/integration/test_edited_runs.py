"""`waymark report`, `compare`, `export` and `resume` on run folders that were edited: one line and exit code 2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Command
from tests.samples import evaluation, result, result_of
from waymark.contracts import EvaluationRequest
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

Waymark = Callable[..., Command]
REQUEST = EvaluationRequest(tasks=("1-1", "4-2"), variations=(0,))


def written(path: Path) -> RunFolder:
    """A run of two episodes, both finished."""
    run = RunFolder(path)
    run.begin(evaluation(path.name, REQUEST, episodes=2))
    for spec in episodes(path.name, REQUEST):
        run.append(result_of(spec))
    return run


def without_date(run: RunFolder) -> None:
    header = json.loads((run.path / HEADER).read_text())
    header["created"] = "today"
    (run.path / HEADER).write_text(json.dumps(header))


def with_fifo(run: RunFolder) -> None:
    (run.path / EPISODES).unlink()
    os.mkfifo(run.path / EPISODES)


def with_another_task(run: RunFolder) -> None:
    run.append(result("2-1_0_x", evaluation=run.path.name, task="2-1", variation=0))


def with_nan(run: RunFolder) -> None:
    text = (run.path / EPISODES).read_text()
    (run.path / EPISODES).write_text(text.replace('"seconds":0.1', '"seconds":NaN'))


def with_an_unknown_task(run: RunFolder) -> None:
    text = (run.path / HEADER).read_text()
    (run.path / HEADER).write_text(text.replace('"4-2"', '"99-9"'))


@pytest.mark.parametrize("edit", [without_date, with_fifo, with_another_task, with_an_unknown_task, with_nan])
def test_an_edited_run_is_refused_in_one_line(
    waymark: Waymark, tmp_path: Path, edit: Callable[[RunFolder], None]
) -> None:
    good, edited = written(tmp_path / "good"), written(tmp_path / "edited")
    edit(edited)
    run = str(edited.path)
    commands = [
        ("report", run),
        ("compare", str(good.path), run),
        ("export", run, str(tmp_path / "results.csv")),
        ("resume", run),
    ]
    for started in [waymark(*arguments) for arguments in commands]:
        code, out, err = started.wait()
        assert (code, out) == (2, "")
        assert run in err
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "results.csv").exists()


@pytest.mark.parametrize("field", ["engine", "environment"])
def test_a_run_of_an_unknown_engine_is_not_resumed(waymark: Waymark, tmp_path: Path, field: str) -> None:
    run = written(tmp_path / "edited")
    header = json.loads((run.path / HEADER).read_text())
    versions = header["versions"]
    (versions["executor"] if field == "engine" else versions)[field] = "\x1b[31mmagic"
    (run.path / HEADER).write_text(json.dumps(header))
    code, out, err = waymark("resume", str(run.path)).wait()
    assert (code, out) == (2, "")
    assert "magic" in err
    assert "\x1b" not in err
    assert len(err.strip().splitlines()) == 1


def test_a_torn_last_line_is_still_accepted(waymark: Waymark, tmp_path: Path) -> None:
    run = written(tmp_path / "torn")
    text = (run.path / EPISODES).read_bytes()
    (run.path / EPISODES).write_bytes(text[:-9])
    code, out, err = waymark("report", str(run.path), "--json").wait()
    assert code == 0, err
    assert [episode["task"] for episode in json.loads(out)["episodes"]] == ["1-1"]
