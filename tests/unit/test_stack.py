import socket
import sys
from pathlib import Path

import pytest

from waymark.child_processes.child_process import HOST, Part
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.local_stack import _claim, free_ports
from waymark.errors import InvalidInput, PortInUse, StackError


def part(log: Path, code: str) -> Part:
    started = Part("executor", [sys.executable, "-c", code], {}, log)
    started.process.wait()
    return started


def test_an_ended_part_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "executor.log"
    with pytest.raises(StackError) as caught:
        part(log, "import sys; sys.exit('No checkpoint at here.')").check()
    assert str(caught.value) == f"The executor ended with exit code 1: No checkpoint at here. Its log is {log}"


def test_a_killed_part_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="executor was killed by SIGKILL"):
        part(tmp_path / "log", "import os; os.kill(os.getpid(), 9)").check()


def test_exit_code_3_means_that_the_port_is_in_use(tmp_path: Path) -> None:
    with pytest.raises(PortInUse):
        part(tmp_path / "log", "raise SystemExit(3)").check()


def test_free_ports_differ() -> None:
    assert len(set(free_ports().values())) == 3


def test_a_port_in_use_is_named_with_its_service() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"Port {port}, which the executor needs"):
            _claim({"executor": port})


def test_a_named_redis_that_is_missing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMARK_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(InvalidInput, match="'/nowhere/redis-server' names no program"):
        EmbeddedRedis(tmp_path).start()
