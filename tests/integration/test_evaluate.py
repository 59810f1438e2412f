"""`waymark evaluate` as a person runs it: real processes and a real Redis.

One test plays the real world with the shipped models, the others a world and models without Java or weights.
Wherever it ends, nothing may be left running.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import SCRIPTED, Command
from waymark.cli.local_stack import CHECKPOINTS
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES
from waymark.inference.checkpoint import load

Waymark = Callable[..., Command]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")


def test_an_evaluation_prints_a_document_and_writes_every_turn(waymark: Waymark) -> None:
    command = waymark("evaluate", *SCRIPTED, "--tasks", "1-1,4-2,10-1", "--json")
    code, out, err = command.wait()
    assert code == 0, err
    document = json.loads(out)
    assert [episode["task"] for episode in document["episodes"]] == ["1-1", "4-2", "10-1"]
    assert document["versions"]["executor"]["engine"] == "scripted"
    assert "3/3" in err
    results = list(command.run.results())
    assert {result.id for result in results if len(result.trajectory) == result.turns > 0} == {
        result.id for result in results
    }
    assert len(results) == 3
    assert {log.name for log in (command.run.path / "logs").iterdir()} == {
        "redis.log",
        "controller.log",
        "executor.log",
        "env-runner.log",
        "worker.log",
    }
    assert command.parts() == {}
    report = waymark("report", str(command.run.path), "--json")
    assert json.loads(report.wait()[1]) == document


@pytest.mark.parametrize("agent", ["hierarchical", "flat"])
def test_the_shipped_models_play_a_real_episode(waymark: Waymark, agent: str) -> None:
    """The main job, small: shipped weights, CTranslate2, a JVM."""
    command = waymark("evaluate", "--agent", agent, "--tasks", "7-2", "--slots", "1", "--json")
    code, out, err = command.wait()
    assert code == 0, err
    versions = json.loads(out)["versions"]
    assert versions["executor"]["sha256"] == load(CHECKPOINTS / ("flat" if agent == "flat" else "executor")).sha256
    assert versions["environment"].startswith("scienceworld ")
    [result] = command.run.results()
    assert result.error is None
    subgoals = {turn.subgoal for turn in result.trajectory}
    if agent == "flat":
        assert subgoals == {None}
    else:
        assert versions["controller"]["sha256"] == load(CHECKPOINTS / "controller").sha256
        assert all(subgoal and subgoal.endswith(")") for subgoal in subgoals)
    assert any(turn.action and turn.known for turn in result.trajectory)
    assert command.parts() == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tasks", "1-9"), "Unknown task '1-9'"),
        (("--tasks", "1-1", "--variations", "30"), "variations 0 to 29"),
        (("--variations", "first"), "ranges such as 0-3; got 'first'"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(
    waymark: Waymark, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = waymark("evaluate", *SCRIPTED, *arguments).wait()
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_missing_checkpoint_is_named_and_nothing_is_left_running(waymark: Waymark, tmp_path: Path) -> None:
    arguments = ("--environment", "scripted", "--checkpoints", str(tmp_path / "none"))
    command = waymark("evaluate", *arguments)
    code, _, err = command.wait()
    assert code == 2
    assert str(tmp_path / "none") in err
    assert "Traceback" not in err
    assert command.parts() == {}


def test_ctrl_c_leaves_finished_episodes_on_disk_and_no_process(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("2/1819")
    assert len(command.parts()) >= 5
    command.process.send_signal(signal.SIGINT)
    code, _, err = command.wait()
    assert code == 130
    assert str(command.run.path) in err
    assert len(list(command.run.results())) >= 2
    assert command.parts() == {}


def test_an_interrupted_evaluation_goes_on_where_it_was(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--tasks", "1-1,4-1,4-2,5-1", "--variations", "0,1", "--slots", "1")
    command.read_until("2/8")
    command.process.kill()
    await_end(command)
    run = command.run
    killed = list(run.results())
    assert len(killed) < 8

    resumed = waymark("resume", str(run.path), "--slots", "1")
    resumed.read_until(f"{len(killed) + 2}/8")
    resumed.process.send_signal(signal.SIGINT)
    code, _, err = resumed.wait()
    assert code == 130
    assert f"waymark resume {run.path}" in err
    assert resumed.parts() == {}

    code, out, err = waymark("resume", str(run.path), "--json").wait()
    assert code == 0, err
    assert len(json.loads(out)["episodes"]) == 8
    results = list(run.results())
    assert results[: len(killed)] == killed
    assert len((run.path / EPISODES).read_bytes().splitlines()) == 8
    evaluation = run.evaluation()
    assert {result.id for result in results} == {episode.id for episode in episodes(evaluation.id, evaluation.request)}
    played_with = {(result.agent, result.versions and result.versions.executor) for result in results}
    assert played_with == {(evaluation.request.agent, evaluation.versions.executor)}

    file = tmp_path / "results.csv"
    assert waymark("export", str(run.path), str(file)).wait()[0] == 0
    assert len(file.read_text().splitlines()) == 9


def test_repeats_go_on_where_they_were_interrupted(waymark: Waymark) -> None:
    arguments = ("--tasks", "1-1,4-2", "--variations", "0,1", "--repeats", "2", "--slots", "1")
    command = waymark("evaluate", *SCRIPTED, *arguments)
    command.read_until("5/8")
    command.process.send_signal(signal.SIGINT)
    assert command.wait()[0] == 130
    killed = list(command.run.results())
    assert {result.repeat for result in killed[:4]} == {0}
    code, out, err = waymark("resume", str(command.run.path), "--json").wait()
    assert code == 0, err
    document = json.loads(out)
    plays = [(episode["task"], episode["variation"], episode["repeat"]) for episode in document["episodes"]]
    assert plays == [(task, variation, repeat) for task in ("1-1", "4-2") for variation in (0, 1) for repeat in (0, 1)]
    assert document["summary"]["repeats"] == 2
    assert list(command.run.results())[: len(killed)] == killed


@pytest.mark.parametrize("part", ["services.executor", "services.env_runner worker", "valkey-server"])
def test_a_dead_part_is_named_and_finished_episodes_kept(waymark: Waymark, tmp_path: Path, part: str) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("2/1819")
    (process,) = (number for number, line in command.parts().items() if part in line)
    os.kill(process, signal.SIGKILL)
    code, _, err = command.wait()
    assert code == 4
    assert "was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert len(list(command.run.results())) >= 2
    assert command.parts() == {}


def test_everything_ends_when_the_command_itself_is_killed(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("1/1819")
    command.process.kill()
    await_end(command)


def await_end(command: Command) -> None:
    """Return once nothing of a command runs any more."""
    deadline = time.monotonic() + 30
    while command.parts() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert command.parts() == {}
