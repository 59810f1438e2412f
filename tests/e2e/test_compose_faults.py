"""What the composed stack survives on a real Docker engine, in the scripted world.

Crashes, a second machine whose clock is wrong and whose network fails, other checkpoints, an upgrade.

Runs under `./run test --compose`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.composed import ROOT, Compose, NotPublished, Runner, docker, skip_without_engine
from tests.observe import assert_panels_are_answered

FILES = Path(__file__).parent / "compose"
SHORT = {"tasks": ["4-2", "4-3"], "limits": {"moves": 15, "turns": 25}}
MANY = {**SHORT, "repeats": 100}
"""A minute or two of play: longer than the partition."""
SOME = {**SHORT, "repeats": 20}
PARTITION_SECONDS = 30
SETTINGS = {"WAYMARK_ENVIRONMENT": "scripted", "WAYMARK_EVALUATE": "none", "WAYMARK_LEASE_SECONDS": "5"}


@pytest.fixture(scope="module", autouse=True)
def engine(request: pytest.FixtureRequest) -> None:
    """Every test here needs one."""
    skip_without_engine(request.config)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    runs = tmp_path_factory.mktemp("compose") / "runs"
    skew = tmp_path_factory.mktemp("skew")
    skew.chmod(0o755)
    if shutil.which("cc"):
        library = skew / "libskew.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(FILES / "skew.c")], check=True)
    settings = {**SETTINGS, "WAYMARK_TEST_SKEW": str(skew)}
    project = Compose(f"waymark-test-faults-{os.getpid()}", runs, FILES / "two-networks.yml", settings=settings)
    try:
        project("up", "--detach", "--build", "--wait", "--scale", "worker-b=0")
        yield project
    finally:
        project.down()


@pytest.fixture
def runner(compose: Compose) -> Runner:
    return Runner(compose)


def assert_exact(compose: Compose, runner: Runner, evaluation: str) -> None:
    """Every episode has one result, in Redis and on the host, and none errored."""
    status = runner.ask("GET", f"/v1/evaluations/{evaluation}")
    assert (status["state"], status["finished"], status["errored"]) == ("finished", status["episodes"], 0)
    results = [result["id"] for result in runner.ask("GET", f"/v1/evaluations/{evaluation}/results")]
    assert len(results) == len(set(results)) == status["episodes"]
    file = compose.runs / evaluation / "episodes.jsonl"
    deadline = time.monotonic() + 30
    while True:
        written = [json.loads(line)["id"] for line in file.read_text().splitlines()]
        if sorted(written) == sorted(results):
            return
        assert time.monotonic() < deadline, (len(written), len(results))
        time.sleep(0.5)


def test_an_evaluation_is_exact_though_every_part_crashes(compose: Compose, runner: Runner) -> None:
    evaluation = runner.submit(**{**SHORT, "repeats": 40})
    episodes = runner.until(evaluation, finished=1)["episodes"]
    for service in ("worker", "executor", "redis", "env-runner", "controller"):
        compose.crash(service)
        done = runner.ask("GET", f"/v1/evaluations/{evaluation}")["finished"]
        runner.until(evaluation, finished=min(done + 5, episodes))
    runner.until(evaluation, finished=episodes)
    assert_exact(compose, runner, evaluation)
    compose("up", "--detach", "--wait", "--scale", "worker-b=0")


def test_redis_keeps_its_data_over_a_restart(compose: Compose, runner: Runner) -> None:
    evaluation = runner.submit(tasks=["4-2"])
    before = runner.until(evaluation, finished=1)
    compose("restart", "redis")
    assert runner.ask("GET", f"/v1/evaluations/{evaluation}") == before


def test_more_workers_share_an_evaluation(compose: Compose, runner: Runner) -> None:
    compose("up", "--detach", "--wait", "--scale", "worker=2", "--scale", "worker-b=0")
    evaluation = runner.submit(**SOME)
    episodes = runner.until(evaluation, finished=1)["episodes"]
    runner.until(evaluation, finished=episodes)
    assert_exact(compose, runner, evaluation)
    counts = [
        _episodes(docker("exec", container, "python", "-c", _METRICS))
        for container in compose("ps", "--quiet", "worker").stdout.split()
    ]
    assert len(counts) == 2
    assert all(counts)
    compose("up", "--detach", "--wait", "--scale", "worker=1", "--scale", "worker-b=0")


def test_a_worker_elsewhere_survives_a_wrong_clock_and_a_partition(compose: Compose, runner: Runner) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, cc, for a wrong clock")
    compose("up", "--detach", "--scale", "worker-b=1")
    [other] = compose.containers("worker-b").values()
    skew = int(docker("exec", other, "date", "+%s")) - time.time()
    assert 110 < skew < 130
    reached = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    assert "done" in docker("exec", other, "sh", "-c", f"python -c '{reached}' redis 6379 && echo done")
    assert "done" in docker(
        "exec", other, "sh", "-c", f"python -c '{reached}' env-runner 8000 2>/dev/null || echo done"
    )

    evaluation = runner.submit(**MANY)
    episodes = runner.until(evaluation, finished=1)["episodes"]
    _until(lambda: _episodes(compose.metrics("worker-b")) > 0)
    networks = [f"{compose.name}_{network}" for network in ("calls_b", "jobs_b")]
    for network in networks:
        docker("network", "disconnect", network, other)
    began = time.monotonic()
    alone = runner.ask("GET", f"/v1/evaluations/{evaluation}")["finished"]
    runner.until(evaluation, finished=min(alone + 5, episodes))  # the first worker plays on
    time.sleep(max(0.0, began + PARTITION_SECONDS - time.monotonic()))
    for network in networks:
        docker("network", "connect", network, other)
    runner.until(evaluation, finished=episodes)
    assert_exact(compose, runner, evaluation)

    before = _episodes(compose.metrics("worker-b"))
    again = runner.submit(**SOME)
    runner.until(again, finished=runner.until(again, finished=1)["episodes"])
    assert_exact(compose, runner, again)
    assert _episodes(compose.metrics("worker-b")) > before
    compose("up", "--detach", "--scale", "worker-b=0")


def test_a_worker_of_an_older_protocol_is_refused_by_name(compose: Compose) -> None:
    older = (
        "import runpy, sys; from services.env_runner.queue import protocol; protocol.PROTOCOL -= 1; "
        "sys.argv = ['worker', 'worker']; runpy.run_module('services.env_runner', run_name='__main__')"
    )
    command = ("run", "--rm", "--no-TTY", "--no-deps", "--name", f"{compose.name}-older")
    done = compose(*command, "worker", "python", "-P", "-c", older, check=False, timeout=120)
    assert done.returncode == 2
    refusal = r"Worker \S+ is refused: it is waymark \S+ \(queue protocol 0\), older than the env-runner"
    assert re.search(refusal, done.stderr)


def test_prometheus_answers_every_panel_and_checks_every_alert(compose: Compose, runner: Runner) -> None:
    image = compose.settings.get("WAYMARK_PROMETHEUS_IMAGE", "prom/prometheus:v3.5.0")
    if not docker("images", "--quiet", image):  # Debian's, where the official one cannot be pulled
        image = compose.settings["WAYMARK_PROMETHEUS_IMAGE"] = "waymark-test-prometheus"
        built = [
            "FROM debian:bookworm-slim",
            "RUN apt-get update && apt-get install -y --no-install-recommends prometheus",
            "RUN install -d -o nobody /prometheus",
            "USER nobody",
        ]
        docker("build", "--quiet", "--tag", image, "-", text="\n".join(built))
    compose.settings["COMPOSE_PROFILES"] = "observe"
    compose("up", "--detach", "--no-deps", "prometheus")
    wanted = {f"waymark-{name}" for name in ("controller", "executor", "env-runner", "worker")}

    def all_up() -> bool:
        try:
            url = compose.url("prometheus", 9090) + "/api/v1/query"
            running = httpx.get(url, params={"query": "up == 1"}, trust_env=False).json()["data"]["result"]
        except (httpx.HTTPError, NotPublished):
            return False
        return {series["metric"]["job"] for series in running} == wanted

    _until(all_up)
    runner.submit(**SOME)
    assert_panels_are_answered(compose.url("prometheus", 9090), window="1m", seconds=120)
    compose("rm", "--stop", "--force", "prometheus")
    del compose.settings["COMPOSE_PROFILES"]


def test_own_checkpoints_are_served_by_one_variable(compose: Compose, runner: Runner, tmp_path: Path) -> None:
    for role in ("controller", "executor"):
        shutil.copytree(ROOT / "checkpoints" / role, tmp_path / role)
        card = tmp_path / role / "card.json"
        card.write_text(card.read_text().replace(f'"name": "waymark-{role}"', f'"name": "my-{role}"'))
    tmp_path.chmod(0o755)
    compose.settings["WAYMARK_CHECKPOINTS_FOLDER"] = str(tmp_path)
    compose("up", "--detach", "--wait", "--scale", "worker-b=0")
    info = httpx.get(compose.url("executor", 8002) + "/info", trust_env=False).json()
    assert [checkpoint["checkpoint"] for checkpoint in info["checkpoints"]] == ["my-executor"]
    evaluation = runner.submit(tasks=["4-2"])
    runner.until(evaluation, finished=1)
    versions = runner.ask("GET", f"/v1/evaluations/{evaluation}")["versions"]
    assert versions["controller"]["checkpoint"] == "my-controller"
    del compose.settings["WAYMARK_CHECKPOINTS_FOLDER"]


def test_keys_and_passwords_are_read_from_files(compose: Compose, tmp_path: Path) -> None:
    keys, password = tmp_path / "keys", tmp_path / "password"
    keys.write_text("# ours\na-key-of-mine\n")
    password.write_text('odd "pass\\word $HOME\n')
    tmp_path.chmod(0o755)
    own = {
        "WAYMARK_API_KEYS_FILE": str(keys),
        "WAYMARK_API_KEY": "a-key-of-mine",
        "WAYMARK_REDIS_PASSWORD_FILE": str(password),
    }
    compose.settings.update(own)
    compose("up", "--detach", "--wait", "--scale", "worker-b=0")
    for service, port in (("controller", 8001), ("executor", 8002), ("env-runner", 8000)):
        answer = httpx.get(compose.url(service, port) + "/info", trust_env=False)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
    done = compose("run", "--rm", "--no-TTY", "cli", "evaluate", "--tasks", "4-2", "--json")
    assert len(json.loads(done.stdout)["episodes"]) == 1
    used = compose("exec", "--no-TTY", "redis", "cat", "/run/waymark/redis-password").stdout
    assert used == 'odd "pass\\word $HOME'
    for name in own:
        del compose.settings[name]


def test_a_folder_without_checkpoints_is_named(compose: Compose, tmp_path: Path) -> None:
    compose.settings["WAYMARK_CHECKPOINTS_FOLDER"] = str(tmp_path / "absent")
    done = compose("up", "--detach", "executor", check=False)
    del compose.settings["WAYMARK_CHECKPOINTS_FOLDER"]
    assert done.returncode != 0
    assert str(tmp_path / "absent") in done.stderr


def test_a_folder_unreadable_in_containers_is_named_in_the_terminal(compose: Compose, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for role in ("controller", "executor"):
        shutil.copytree(ROOT / "checkpoints" / role, folder / role)
    (folder / "executor").chmod(0o700)
    tmp_path.chmod(0o755)
    compose.settings["WAYMARK_CHECKPOINTS_FOLDER"] = str(folder)
    done = compose("up", "check", check=False)
    del compose.settings["WAYMARK_CHECKPOINTS_FOLDER"]
    line = f"WAYMARK_CHECKPOINTS_FOLDER={folder}: user 10001 of the containers cannot read {folder}"
    assert line in done.stdout + done.stderr


def test_an_evaluation_continues_after_an_upgrade_from_the_previous_commit(tmp_path: Path) -> None:
    checkout, archive = tmp_path / "before", tmp_path / "before.tar"
    checkout.mkdir()
    command = ["git", "archive", "--output", str(archive), "HEAD~1"]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("needs the commit before; this clone has no history")
    shutil.unpack_archive(archive, checkout, filter="data")
    name = f"waymark-test-upgrade-{os.getpid()}"
    before = Compose(name, tmp_path / "runs", FILES / "before.yml", settings=SETTINGS, checkout=checkout)
    after = Compose(name, tmp_path / "runs", settings=SETTINGS)
    try:
        before("up", "--detach", "--build", "--wait", timeout=1_200)
        finished = Runner(before).submit(tasks=["4-2"])
        status = Runner(before).until(finished, finished=1)
        interrupted = Runner(before).submit(**SOME)
        Runner(before).until(interrupted, finished=1)
        before("down")
        after("up", "--detach", "--build", "--wait")
        runner = Runner(after)
        assert runner.ask("GET", f"/v1/evaluations/{finished}")["finished"] == status["finished"]
        assert_exact(after, runner, finished)
        episodes = runner.ask("GET", f"/v1/evaluations/{interrupted}")["episodes"]
        runner.until(interrupted, finished=episodes)
        assert_exact(after, runner, interrupted)
    finally:
        after.down()


_METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9000/metrics').read().decode())"


def _episodes(metrics: str) -> int:
    """How many episodes a worker has committed, by its metrics."""
    counts = re.findall(r"^waymark_worker_episodes_total\{.*\} (\S+)$", metrics, re.MULTILINE)
    return sum(int(float(count)) for count in counts)


def _until(fact: object, seconds: float = 180) -> None:
    """Wait until a function returns something true."""
    assert callable(fact)
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.5)
