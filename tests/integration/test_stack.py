"""`waymark up`: the stack on ports of one's choice, until it is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable

import httpx
import pytest

from tests.commands import SCRIPTED, Command
from waymark.stack import HOST, PORTS, Service, free_ports

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
