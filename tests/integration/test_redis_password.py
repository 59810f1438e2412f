"""A real Redis whose password holds what ends a URL's host: it is reached, and the password is printed nowhere."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from services.env_runner.queue import JobStore
from tests.commands import SCRIPTED, Command
from waymark.child_processes.child_process import HOST
from waymark.cli.local_stack import Stack, StackOptions, free_ports
from waymark.cli.redis_server import check_named_redis, find_redis_server
from waymark.clients.services import SyncEvaluationClient
from waymark.contracts import EvaluationRequest
from waymark.errors import JobStoreUnavailable, StackError
from waymark.operating_system.process_tree import children

PASSWORD = "s3cret/wi#th@all:of?them%25+ü"
"""Without blanks and quotes, which Redis' own configuration file would want escaped."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a Redis listens that wants the password; it reads it from standard input, not from its command line."""
    folder = tmp_path_factory.mktemp("redis")
    port = free_ports()["env-runner"]
    settings = f'port {port}\nbind {HOST}\ndir {folder}\nsave ""\nrequirepass {PASSWORD}\n'
    with subprocess.Popen([find_redis_server(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(settings.encode())
        process.stdin.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(JobStoreUnavailable):
                JobStore(f"redis://:{quote(PASSWORD, safe='')}@{HOST}:{port}/0").ping()
                break
            time.sleep(0.1)
        yield port
        process.terminate()


@pytest.mark.parametrize("user", ["", "default"])
def test_an_odd_password_opens_redis_raw_and_encoded(user: str, port: int) -> None:
    raw = PASSWORD.replace("%25", "%2525")  # a `%` of its own is the one character that has to be encoded
    for written in (raw, quote(PASSWORD, safe="")):
        store = JobStore(f"redis://{user}:{written}@{HOST}:{port}/0")
        store.ping()
        store.close()


def test_a_wrong_password_is_not_printed(port: int) -> None:
    with pytest.raises(JobStoreUnavailable) as caught:
        JobStore(f"redis://:wr/ong@{HOST}:{port}/0").ping()
    assert "wr/ong" not in str(caught.value)
    assert f"redis://{HOST}:{port}/0" in str(caught.value)


def test_a_stack_plays_and_prints_the_password_nowhere(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYMARK_REDIS_URL", f"redis://{HOST}:{port}/0")
    monkeypatch.setenv("WAYMARK_REDIS_PASSWORD", PASSWORD)
    options = StackOptions(runs=tmp_path, engine="scripted", environment="scripted", slots=1)
    with Stack(options) as stack, SyncEvaluationClient(stack.url("env-runner")) as client:
        status = client.submit(EvaluationRequest(tasks=("4-2",)))
        for _ in range(300):
            if client.status(status.id).finished == status.episodes:
                break
            time.sleep(0.1)
        printed = [client.status(status.id).model_dump_json()]
        printed += [httpx.get(stack.url("env-runner") + path, trust_env=False).text for path in ("/info", "/metrics")]
        for pid in {*stack.pids.values(), *children(os.getpid())}:
            printed.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
        printed += [log.read_text() for log in stack.logs.glob("*.log")]
    printed += [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    assert client.base_url
    assert status.episodes > 0
    assert not [text for text in printed if PASSWORD in text or "s3cret" in text]


def test_a_wrong_password_ends_the_command_with_one_line(port: int, tmp_path: Path) -> None:
    settings = {"WAYMARK_REDIS_URL": f"redis://:s3cret/x@{HOST}:{port}/0", "WAYMARK_ENGINE": "scripted"}
    command = Command(tmp_path, "evaluate", *SCRIPTED, settings=settings)
    output, errors = command.process.communicate(timeout=60)
    assert command.process.returncode not in (0, 1)
    assert "s3cret" not in output + errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("password", "database", "says"),
    [("wrong/one", "0", "password"), ("", "0", "authenticate"), (PASSWORD, "99", "out of range")],
)
def test_a_redis_that_refuses_is_reported_before_anything_starts(
    port: int, password: str, database: str, says: str
) -> None:
    settings = {"WAYMARK_REDIS_URL": f"redis://{HOST}:{port}/{database}", "WAYMARK_REDIS_PASSWORD": password}
    with pytest.raises(StackError, match=says) as caught:
        check_named_redis(settings)
    assert "wrong/one" not in str(caught.value)
    check_named_redis({**settings, "WAYMARK_REDIS_URL": f"redis://{HOST}:{port}", "WAYMARK_REDIS_PASSWORD": PASSWORD})


@pytest.mark.parametrize("query", ["hunter2=1", "socket_timeout=hunter2"])
def test_a_redis_address_with_a_wrong_parameter_is_reported_without_it(port: int, query: str) -> None:
    with pytest.raises(StackError, match="parameter") as caught:
        check_named_redis({"WAYMARK_REDIS_URL": f"redis://{HOST}:{port}/0?{query}"})
    assert "hunter2" not in str(caught.value)


def test_a_stack_with_its_own_redis_ignores_the_password(tmp_path: Path) -> None:
    settings = {"WAYMARK_REDIS_PASSWORD": "s3cret"}
    code, out, err = Command(tmp_path, "evaluate", *SCRIPTED, "--tasks", "4-2", settings=settings).wait()
    assert code == 0, out + err
