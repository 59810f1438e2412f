"""Wrong arguments and settings: one line, exit code 2, and nothing is started."""

from __future__ import annotations

import http.server
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints import make_folder
from tests.commands import SCRIPTED, Command
from waymark.child_processes.child_process import HOST

Waymark = Callable[..., Command]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")

SECONDS = 60.0
"""Generous: importing takes two seconds on an idle machine, and nothing else may take long."""


def refused(command: Command, *, code: int = 2) -> str:
    """What a command says on stderr that ended with that code: one line, no traceback, nothing left."""
    began = time.monotonic()
    ended, out, err = command.wait()
    assert time.monotonic() - began < SECONDS
    assert (ended, out) == (code, ""), err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1, err
    assert command.parts() == {}
    return err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"WAYMARK_SLOTS": "x"}, "WAYMARK_SLOTS"),
        ({"WAYMARK_ENGINE": "steam"}, "WAYMARK_ENGINE"),
        ({"WAYMARK_ENVIRONMENT": "moon"}, "WAYMARK_ENVIRONMENT"),
        ({"WAYMARK_URL": "nonsense"}, "nonsense"),
        ({"WAYMARK_REDIS_SERVER": "/nope"}, "'/nope'"),
        ({"WAYMARK_REDIS_SERVER": "/tmp"}, "is a folder"),
        ({"WAYMARK_REDIS_SERVER": "/etc/passwd"}, "not executable"),
        ({"WAYMARK_REDIS_SERVER": "/bin/true"}, "no Redis server"),
        ({"WAYMARK_REDIS_SERVER": sys.executable}, "no Redis server"),
        ({"WAYMARK_REDIS_URL": "http://x"}, "no Redis address"),
        ({"WAYMARK_REDIS_URL": f"redis://:secret@{HOST}:1/0"}, f"Nothing listens at redis://{HOST}:1/0"),
        ({"WAYMARK_REDIS_URL": "unix:///nowhere/redis"}, "Nothing listens at unix:///nowhere/redis"),
        ({"WAYMARK_REDIS_URL": "redis://x", "WAYMARK_REDIS_PASSWORD_FILE": "/nope"}, "/nope"),
    ],
    ids=str,
)
def test_a_bad_setting_is_one_line_with_its_value(waymark: Waymark, settings: dict[str, str], says: str) -> None:
    arguments = [] if "WAYMARK_ENGINE" in settings or "WAYMARK_ENVIRONMENT" in settings else [*SCRIPTED]
    err = refused(waymark("evaluate", *arguments, settings=settings))
    assert says in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("setting", "value"),
    [("WAYMARK_MAX_BATCH", "x"), ("WAYMARK_API_KEYS_FILE", "/nope")],
)
def test_a_setting_that_only_a_service_reads_is_named(waymark: Waymark, setting: str, value: str) -> None:
    command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", settings={setting: value})
    code, out, err = command.wait()
    assert (code, out) == (2, "")
    assert setting.removesuffix("_FILE") in err or value in err
    assert "Traceback" not in err
    assert command.parts() == {}


@pytest.mark.parametrize("kind", ["file", "fifo", "below a file", "link to itself", "too long"])
def test_a_runs_folder_that_can_be_none_is_named(waymark: Waymark, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link to itself":
        place.symlink_to(place)
    else:
        place.write_text("")
    runs = {"below a file": place / "runs", "too long": tmp_path / ("x" * 300)}.get(kind, place)
    err = waymark("evaluate", *SCRIPTED, "--runs", str(runs)).wait()
    assert err[0] == 2
    assert str(runs)[:200] in err[2]
    assert "Traceback" not in err[2]


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "one checkpoint", "executor only"])
@pytest.mark.parametrize("command", ["evaluate", "up"])
def test_a_wrong_folder_of_checkpoints_is_named(waymark: Waymark, tmp_path: Path, kind: str, command: str) -> None:
    folder = tmp_path / "place"
    if kind == "file":
        folder.write_text("")
    elif kind == "one checkpoint":
        make_folder(folder)
    elif kind == "executor only":
        make_folder(folder / "executor")
    elif kind == "empty":
        folder.mkdir()
    err = refused(waymark(command, "--environment", "scripted", "--checkpoints", str(folder)))
    assert str(folder) in err
    assert not (tmp_path / "runs").exists()


def test_a_malformed_checkpoint_is_refused_before_anything_starts(waymark: Waymark, tmp_path: Path) -> None:
    make_folder(tmp_path / "all" / "executor")
    make_folder(tmp_path / "all" / "controller", "controller")
    (tmp_path / "all" / "controller" / "card.json").write_text("[")
    err = refused(waymark("evaluate", "--environment", "scripted", "--checkpoints", str(tmp_path / "all")))
    assert "all/controller" in err
    assert not (tmp_path / "runs").exists()


def test_weights_that_the_engine_refuses_end_the_command_with_two(waymark: Waymark, tmp_path: Path) -> None:
    """Only the engine finds this out; its service says so, and the command repeats it."""
    make_folder(tmp_path / "all" / "executor")
    make_folder(tmp_path / "all" / "controller", "controller")
    command = waymark("evaluate", "--environment", "scripted", "--checkpoints", str(tmp_path / "all"))
    code, _, err = command.wait()
    assert code == 2, err
    assert "CTranslate2 cannot load" in err
    assert "Traceback" not in err
    assert command.parts() == {}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "WAYMARK_PLANNER_URL"),
        ({"WAYMARK_PLANNER_URL": "nonsense"}, "no address"),
        ({"WAYMARK_PLANNER_URL": "http://127.0.0.1:1/v1"}, "WAYMARK_PLANNER_MODEL"),
    ],
    ids=str,
)
def test_a_missing_planner_is_reported_at_once(waymark: Waymark, settings: dict[str, str], says: str) -> None:
    assert says in refused(waymark("evaluate", *SCRIPTED, "--agent", "llm_plan", settings=settings))


def test_an_unreachable_planner_is_reported_at_once(waymark: Waymark) -> None:
    settings = {"WAYMARK_PLANNER_URL": f"http://{HOST}:1/v1", "WAYMARK_PLANNER_MODEL": "m"}
    err = refused(waymark("evaluate", *SCRIPTED, "--agent", "llm_plan", settings=settings), code=3)
    assert "cannot be reached" in err


@pytest.mark.parametrize("arguments", [("evaluate", "--tasks", "4-2"), ("status",)])
def test_an_unreachable_address_is_reported_at_once(waymark: Waymark, arguments: tuple[str, ...]) -> None:
    err = refused(waymark(*arguments, "--url", f"http://{HOST}:1"), code=3)
    assert f"http://{HOST}:1" in err
    assert ("start a stack here" in err) == ("status" not in arguments)


@pytest.fixture
def somebody() -> Iterator[str]:
    """A server that is no env-runner."""
    server = http.server.HTTPServer((HOST, 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_another_server_at_the_address_is_named(waymark: Waymark, somebody: str) -> None:
    code, _, err = waymark("evaluate", "--url", somebody, "--tasks", "4-2").wait()
    assert code in {2, 3}
    assert somebody in err
    assert "Traceback" not in err


def test_a_missing_engine_package_is_reported_at_once(waymark: Waymark, tmp_path: Path) -> None:
    settings = {"WAYMARK_VLLM_PYTHON": str(tmp_path / "nope")}
    err = refused(waymark("evaluate", "--environment", "scripted", "--engine", "vllm", settings=settings), code=3)
    assert str(tmp_path / "nope") in err


def test_a_port_in_use_is_reported_before_anything_starts(waymark: Waymark, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = waymark("up", *SCRIPTED, "--port", port).wait()
    assert code == 3
    assert f"Port {port}" in err
    assert list((tmp_path / "runs").glob("*")) == []


def test_a_finished_run_is_shown_and_not_played(waymark: Waymark) -> None:
    command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2", "--variations", "0-1")
    assert command.wait()[0] == 0
    run = command.run
    again = waymark("resume", str(run.path))
    code, out, err = again.wait()
    assert code == 0
    assert "Nothing is left to play: all 2 episodes" in err
    assert "starting" not in err
    assert "Score" in out


def test_runs_of_two_environments_do_not_continue_together(waymark: Waymark, tmp_path: Path) -> None:
    command = waymark("evaluate", *SCRIPTED, "--tasks", "4-2,4-1", "--slots", "1")
    assert command.wait()[0] == 0
    path = command.run.path
    lines = (path / "episodes.jsonl").read_text().splitlines(keepends=True)
    (path / "episodes.jsonl").write_text(lines[0])
    other = path.with_name("other")
    other.mkdir()
    header = (path / "evaluation.json").read_text()
    changed = header.replace('"environment": "scripted"', '"environment": "scienceworld 1"')
    (other / "evaluation.json").write_text(changed)
    err = refused(waymark("resume", str(path), str(other)))
    assert "scienceworld" in err
    assert "one by one" in err
