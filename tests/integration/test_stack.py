"""`waymark up`: the stack on ports of one's choice, until it is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.commands import SCRIPTED, Command
from waymark.child_processes.child_process import HOST
from waymark.cli.local_stack import PORTS, Service, Stack, StackOptions, free_ports
from waymark.clients.services import SyncEvaluationClient
from waymark.contracts import EpisodeResult, EvaluationRequest, Limits
from waymark.worlds.scienceworld.tasks import TASKS

Waymark = Callable[..., Command]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for in /proc")


def test_the_stack_serves_until_it_is_told_to_stop(waymark: Waymark) -> None:
    ports = free_ports()
    command = waymark("up", *SCRIPTED, *_options(ports))
    command.read_until("Ctrl-C stops")
    for service in PORTS:
        assert httpx.get(f"http://{HOST}:{ports[service]}/health/ready").status_code == 200
    url = f"http://{HOST}:{ports['env-runner']}"
    code, out, err = waymark("evaluate", "--url", url, "--tasks", "4-2", "--json").wait()
    assert code == 0, err
    assert [episode["task"] for episode in json.loads(out)["episodes"]] == ["4-2"]
    code, _, err = waymark(
        "evaluate", "--url", url, "--agent", "flat", "--tasks", "4-2,1-1", "--protocol", "seed"
    ).wait()
    assert code == 0, err
    command.process.send_signal(signal.SIGTERM)
    assert command.wait()[0] == 130
    assert command.parts() == {}


def test_workers_that_are_started_beside_a_stack_play_its_evaluation(
    waymark: Waymark, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYMARK_REDIS_URL", redis_url)
    options = StackOptions(runs=tmp_path / "runs", engine="scripted", environment="scripted", slots=0)
    with Stack(options) as stack, SyncEvaluationClient(stack.url("env-runner")) as client:
        settings = {
            "WAYMARK_REDIS_URL": redis_url,
            "WAYMARK_CONTROLLER_URL": stack.url("controller"),
            "WAYMARK_EXECUTOR_URL": stack.url("executor"),
        }
        workers = [waymark("worker", *SCRIPTED[2:], "--slots", "1", settings=settings) for _ in range(2)]
        evaluation = client.submit(EvaluationRequest(protocol="quick", limits=Limits(moves=100, turns=8)))
        results = [event for event in client.events(evaluation.id) if isinstance(event, EpisodeResult)]
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)
        assert [worker.wait()[0] for worker in workers] == [0, 0]
    assert len({result.id for result in results}) == len(results) == len(TASKS)
    assert all(result.error is None for result in results)


def test_a_port_in_use_is_named_and_nothing_is_started(waymark: Waymark) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        command = waymark("up", *SCRIPTED, *_options({**free_ports(), "executor": port}))
        code, _, err = command.wait()
    assert code == 3
    assert f"Port {port}, which the executor needs, is in use." in err
    assert "Traceback" not in err
    assert command.parts() == {}


def test_an_env_runner_that_is_not_there_is_named(waymark: Waymark) -> None:
    code, _, err = waymark("evaluate", "--url", f"http://{HOST}:1", "--tasks", "4-2").wait()
    assert code == 3
    assert f"env-runner at http://{HOST}:1" in err
    assert "Traceback" not in err


def _options(ports: dict[Service, int]) -> list[str]:
    runner, controller, executor = (str(ports[service]) for service in ("env-runner", "controller", "executor"))
    return ["--port", runner, "--controller-port", controller, "--executor-port", executor]
