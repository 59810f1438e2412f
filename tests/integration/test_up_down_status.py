"""`waymark status` and `waymark down` find what `waymark up` has started, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import SCRIPTED, Command
from waymark.cli.local_stack import free_ports
from waymark.cli.stack_record import StackRecord, find_records, is_running, start_of, stop

Waymark = Callable[..., Command]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")


def start(waymark: Waymark) -> tuple[Command, str]:
    """A stack that runs, and the address of its env-runner."""
    ports = free_ports()
    options = [word for name, option in OPTIONS.items() for word in (option, str(ports[name]))]  # type: ignore[index]
    command = waymark("up", *SCRIPTED, *options)
    command.read_until("Ctrl-C stops")
    return command, f"http://127.0.0.1:{ports['env-runner']}"


OPTIONS = {"env-runner": "--port", "controller": "--controller-port", "executor": "--executor-port"}


def test_a_stack_is_shown_used_and_ended(waymark: Waymark, tmp_path: Path) -> None:
    command, url = start(waymark)
    assert waymark("evaluate", "--url", url, "--tasks", "4-2").wait()[0] == 0

    code, out, err = waymark("status").wait()
    assert code == 0, err
    for words in ("env-runner", "controller", "executor", "ready", "finished", "1/1", "0.0"):
        assert words in out
    document = json.loads(waymark("status", "--json").wait()[1])
    [stack] = document["stacks"]
    assert stack["pid"] == command.process.pid
    assert {service["state"] for service in stack["services"]} == {"ready"}
    assert all(os.path.exists(f"/proc/{service['pid']}") for service in stack["services"])
    code, out, _ = waymark("status", "--url", url).wait()
    assert code == 0
    assert "1/1" in out

    code, _, err = waymark("down").wait()
    assert code == 0, err
    assert command.wait()[0] == 130
    assert command.parts() == {}
    assert list((tmp_path / "runs").glob("stack-*/up.json")) == []
    code, _, err = waymark("status").wait()
    assert code == 3
    assert "Nothing runs" in err


def test_a_service_that_is_gone_is_shown(waymark: Waymark) -> None:
    command, _ = start(waymark)
    [executor] = [pid for pid, line in command.parts().items() if "services.executor" in line]
    os.kill(executor, signal.SIGSTOP)
    try:
        code, out, _ = waymark("status").wait()
    finally:
        os.kill(executor, signal.SIGCONT)
    assert code == 3
    assert "unreachable" in out
    assert waymark("down").wait()[0] == 0


def test_down_reports_that_no_stack_runs(waymark: Waymark) -> None:
    code, out, err = waymark("down").wait()
    assert (code, out) == (3, "")
    assert "No stack" in err


def test_a_killed_stack_leaves_nothing_to_end(waymark: Waymark) -> None:
    command, _ = start(waymark)
    command.process.kill()
    command.process.wait()
    assert waymark("down").wait()[0] == 3


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("started", ["", "0", "99999999999"])
def test_a_process_with_a_used_number_is_never_ended(
    stranger: subprocess.Popen[bytes], tmp_path: Path, started: str
) -> None:
    record = StackRecord(pid=stranger.pid, started=started, urls={}, pids={}, logs="")
    place = tmp_path / "stack-x"
    place.mkdir()
    (place / "up.json").write_text(record.model_dump_json())
    assert not is_running(record)
    assert list(find_records(tmp_path)) == []
    assert stop(record, 1)
    assert stranger.poll() is None


def test_a_record_that_is_no_record_is_passed_over(tmp_path: Path) -> None:
    contents = ["", "[]", "{}", '{"pid": -1, "started": "x", "urls": {}, "pids": {}, "logs": ""}', "\xff" * 9]
    for number, content in enumerate(contents):
        folder = tmp_path / f"stack-{number}"
        folder.mkdir()
        (folder / "up.json").write_text(content)
    (tmp_path / "stack-fifo").mkdir()
    os.mkfifo(tmp_path / "stack-fifo" / "up.json")
    assert list(find_records(tmp_path)) == []


def test_a_process_that_has_ended_did_not_start() -> None:
    process = subprocess.Popen(["true"])
    while start_of(process.pid) is not None:  # a zombie counts as ended
        time.sleep(0.05)
    process.wait()
    assert start_of(process.pid) is None
    assert start_of(os.getpid())
