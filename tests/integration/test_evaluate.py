"""`waymark evaluate` as a person runs it: real processes and a real Redis; a world and models without Java or weights.

Nothing may be left running: every process of a stack has its runs folder in its environment or works in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from waymark.runs import RunFolder

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")
SCRIPTED = ("--engine", "scripted", "--environment", "scripted")
SECONDS = 120


class Command:
    """A running `waymark`, in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
        environment["WAYMARK_RUNS"] = str(folder / "runs")
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "waymark", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err

    def read_until(self, text: str) -> None:
        """Follow stderr until a line begins with that text."""
        assert self.process.stderr is not None
        seen = ""
        for line in self.process.stderr:
            seen += line
            if line.startswith(text):
                return
        pytest.fail(f"{text!r} never came:\n{seen}")

    def parts(self) -> dict[int, str]:
        """Process id and command line of everything that this command has started and that still runs."""
        runs = self.folder / "runs"
        mark = f"WAYMARK_RUNS={runs}".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                works_there = (process / "cwd").readlink().is_relative_to(runs)  # Redis, which hides its environment
                if works_there or mark in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended meanwhile, or is another user's
        found.pop(self.process.pid, None)
        return found

    @property
    def run(self) -> RunFolder:
        """The one run in the folder."""
        (only,) = (self.folder / "runs").glob("*/evaluation.json")
        return RunFolder(only.parent)


@pytest.fixture
def waymark(tmp_path: Path) -> Iterator[list[Command]]:
    """Commands that a test starts; ended with all of their parts should the test fail."""
    started: list[Command] = []
    yield started
    for command in started:
        command.process.kill()
        command.process.communicate()
        for process in command.parts():
            os.kill(process, signal.SIGKILL)


def start(waymark: list[Command], folder: Path, *arguments: str) -> Command:
    waymark.append(Command(folder, *arguments))
    return waymark[-1]


def test_an_evaluation_ends_in_a_document_on_stdout_and_every_turn_on_disk(
    waymark: list[Command], tmp_path: Path
) -> None:
    command = start(waymark, tmp_path, "evaluate", *SCRIPTED, "--tasks", "1-1,4-2,10-1", "--json")
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
    report = start(waymark, tmp_path, "report", str(command.run.path), "--json")
    assert json.loads(report.wait()[1]) == document


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tasks", "1-9"), "Unknown task '1-9'"),
        (("--tasks", "1-1", "--variations", "30"), "variations 0 to 29"),
        (("--variations", "first"), "no list of variations"),
    ],
)
def test_bad_input_is_told_before_anything_starts(
    waymark: list[Command], tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = start(waymark, tmp_path, "evaluate", *SCRIPTED, *arguments).wait()
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_missing_checkpoint_is_named_and_nothing_is_left_running(waymark: list[Command], tmp_path: Path) -> None:
    arguments = ("--environment", "scripted", "--checkpoints", str(tmp_path / "none"))
    command = start(waymark, tmp_path, "evaluate", *arguments)
    code, _, err = command.wait()
    assert code == 3
    assert str(tmp_path / "none") in err
    assert "Traceback" not in err
    assert command.parts() == {}


def test_ctrl_c_leaves_finished_episodes_on_disk_and_no_process(waymark: list[Command], tmp_path: Path) -> None:
    command = start(waymark, tmp_path, "evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("2/1819")
    assert len(command.parts()) >= 5
    command.process.send_signal(signal.SIGINT)
    code, _, err = command.wait()
    assert code == 130
    assert str(command.run.path) in err
    assert len(list(command.run.results())) >= 2
    assert command.parts() == {}


@pytest.mark.parametrize("part", ["services.executor", "services.env_runner worker", "redis-server"])
def test_a_part_that_dies_is_named_and_finished_episodes_are_kept(
    waymark: list[Command], tmp_path: Path, part: str
) -> None:
    command = start(waymark, tmp_path, "evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("2/1819")
    (process,) = (number for number, line in command.parts().items() if part in line)
    os.kill(process, signal.SIGKILL)
    code, _, err = command.wait()
    assert code == 4
    assert "was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert len(list(command.run.results())) >= 1
    assert command.parts() == {}


def test_everything_ends_when_the_command_itself_is_killed(waymark: list[Command], tmp_path: Path) -> None:
    command = start(waymark, tmp_path, "evaluate", *SCRIPTED, "--protocol", "full")
    command.read_until("1/1819")
    command.process.kill()
    deadline = time.monotonic() + 30
    while command.parts() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert command.parts() == {}
