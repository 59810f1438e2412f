"""What Prometheus and Grafana are given in deploy/observe, against services that run and a real Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from tests.observe import DASHBOARDS, OBSERVE, alert_rules, ask, assert_panels_are_answered, panel_queries
from waymark.child_processes.child_process import HOST, Part
from waymark.cli.local_stack import Stack, free_ports

NEEDS_PROMETHEUS = "needs prometheus and promtool (Debian: apt install prometheus)"
INTERVAL = "1s"
WINDOW = "30s"
"""What Grafana would put for $__rate_interval."""
EVALUATION = {"tasks": ["4-2", "1-1"], "repeats": 3}
"""Six episodes of up to 700 model calls each, about 20 s: long enough that both workers play and rates can be seen."""


@pytest.fixture(scope="module")
def worker(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port where a second worker of the stack shows its counts."""
    port = free_ports()["env-runner"]
    assert stack._redis is not None
    settings = {
        "WAYMARK_ENVIRONMENT": "scripted",
        "WAYMARK_SLOTS": "2",
        "WAYMARK_CONTROLLER_URL": stack.url("controller"),
        "WAYMARK_EXECUTOR_URL": stack.url("executor"),
        "WAYMARK_REDIS_URL": stack._redis.url,
        "WAYMARK_METRICS_PORT": str(port),
    }
    command = [sys.executable, "-P", "-m", "services.env_runner", "worker"]
    part = Part("worker", command, {**os.environ, **settings}, tmp_path_factory.mktemp("worker") / "log")
    yield port
    part.stop()


@pytest.fixture(scope="module")
def targets(stack: Stack, worker: int) -> dict[str, str]:
    """Address by job, after an evaluation has been played that left counts of every kind."""
    url = stack.url("env-runner")
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        evaluations = [http.post("/v1/evaluations", json=EVALUATION).raise_for_status().json()["id"] for _ in range(2)]
        deadline = time.monotonic() + 300
        while any(http.get(f"/v1/evaluations/{name}").json()["state"] != "finished" for name in evaluations):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    jobs = {f"waymark-{name}": stack.url(name) for name in ("controller", "executor", "env-runner")}
    return {job: address.removeprefix("http://") for job, address in jobs.items()} | {
        "waymark-worker": f"{HOST}:{worker}"
    }


def _names(text: str) -> set[str]:
    """The names of the series that an exposition can hold."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return {name + suffix for name, kind in kinds for suffix in suffixes.get(kind, ("",))}


def test_every_metric_of_a_panel_or_an_alert_is_served(targets: dict[str, str]) -> None:
    served = set[str]()
    for address in targets.values():
        served |= _names(httpx.get(f"http://{address}/metrics", trust_env=False).text)
    for where, expression in panel_queries() + alert_rules():
        metrics = set(re.findall(r"\b(?:waymark|process)_\w+", re.sub(r'"[^"]*"', "", expression)))
        assert metrics or "up{" in expression, where
        assert metrics <= served, where


def test_every_metric_of_waymark_is_in_a_panel(targets: dict[str, str]) -> None:
    expressions = " ".join(expression for _, expression in panel_queries())
    for job, address in targets.items():
        text = httpx.get(f"http://{address}/metrics", trust_env=False).text
        for name in re.findall(r"^# TYPE (waymark_\w+) ", text, re.MULTILINE):
            assert name in expressions, (job, name)


def test_dashboards_name_the_data_source_that_is_provisioned() -> None:
    [source] = yaml.safe_load((OBSERVE / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert len(DASHBOARDS) == 2
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            assert panel["description"]
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
            for target in panel["targets"]:
                assert target["datasource"]["uid"] == source["uid"]


@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_alert_rules_pass_promtool(arguments: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip(NEEDS_PROMETHEUS)
    done = subprocess.run(["promtool", *arguments], cwd=OBSERVE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    tested = (OBSERVE / "alerts_test.yml").read_text()
    assert [name for name, _ in alert_rules() if f"alertname: {name}\n        exp_alerts" not in tested] == []


@pytest.fixture(scope="module")
def prometheus(targets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with our configuration; only the addresses are those of this machine."""
    if shutil.which("prometheus") is None:
        pytest.skip(NEEDS_PROMETHEUS)
    folder = tmp_path_factory.mktemp("prometheus")
    key = folder / "key"
    key.touch()
    config: dict[str, Any] = yaml.safe_load((OBSERVE / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    for job in config["scrape_configs"]:
        assert job.pop("dns_sd_configs")
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        if "authorization" in job:
            job["authorization"] = {"credentials_file": str(key)}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(OBSERVE / "alerts.yml", folder)
    subprocess.run(["promtool", "check", "config", str(folder / "prometheus.yml")], check=True, capture_output=True)
    port = free_ports()["env-runner"]
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    ]
    part = Part("prometheus", command, dict(os.environ), folder / "log")
    yield f"http://{HOST}:{port}"
    part.stop()


def test_a_real_prometheus_answers_every_panel(prometheus: str, targets: dict[str, str], stack: Stack) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            up = ask(prometheus, "up", WINDOW)
            if len(up) == len(targets) and all(series["value"][1] == "1" for series in up):
                break
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, "not all targets are up"
        time.sleep(0.5)
    with httpx.Client(base_url=stack.url("env-runner"), trust_env=False, timeout=30) as http:
        http.post("/v1/evaluations", json=EVALUATION).raise_for_status()
    assert_panels_are_answered(prometheus, WINDOW, seconds=60)
