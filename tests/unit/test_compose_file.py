"""docker-compose.yml against the settings that the code reads, `.env.example` and the compose specification."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml  # type: ignore[import-untyped]

from deploy.docker import vllm_arguments
from services.env_runner.settings import Settings
from waymark.contracts import Role
from waymark.inference import checkpoint
from waymark.inference.engines.vllm_process import server_arguments
from waymark.serving.settings import ListenSettings, ServiceSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("controller", "executor", "controller-gpu", "executor-gpu", "env-runner", "worker")
PROFILES = ("", "gpu", "vllm", "observe", "cli", "gpu,observe", "vllm,observe")

VLLM_RUNS_ELSEWHERE = {"vllm_python"}
THE_PASSWORD_COMES_AS_A_FILE = {"redis_password"}
A_FOLDER_OF_THE_HOST_IS_MOUNTED_THERE = {"runs"}
FOR_WORKERS_ALONE = {"slots", "metrics_port", "simulator_cache"}


def _variables(fields: set[str]) -> set[str]:
    return {f"WAYMARK_{field.upper()}" for field in fields}


@pytest.mark.parametrize("service", ["controller", "executor", "controller-gpu", "executor-gpu"])
def test_every_setting_reaches_a_model_service(service: str) -> None:
    wanted = set(ServiceSettings.model_fields) - VLLM_RUNS_ELSEWHERE
    assert _variables(wanted) <= set(SERVICES[service]["environment"])


def test_every_setting_reaches_env_runner_or_worker() -> None:
    wanted = set(Settings.model_fields) - THE_PASSWORD_COMES_AS_A_FILE - A_FOLDER_OF_THE_HOST_IS_MOUNTED_THERE
    runner, worker = (set(SERVICES[name]["environment"]) for name in ("env-runner", "worker"))
    assert _variables(wanted - FOR_WORKERS_ALONE) <= runner
    listening = set(ListenSettings.model_fields) - {"host", "allow_remote", "log"}
    assert _variables(wanted - listening - {"port"}) <= worker


def test_no_container_gets_a_variable_that_nothing_reads() -> None:
    known = _variables({*ServiceSettings.model_fields, *Settings.model_fields}) | {"WAYMARK_API_KEY"}
    for service in OURS:
        assert {name for name in SERVICES[service]["environment"] if name.startswith("WAYMARK_")} <= known


def test_the_example_explains_exactly_the_variables_that_are_read() -> None:
    code = re.sub(r"(?m)(^|\s)#.*$", "", TEXT)
    read = set(re.findall(r"\$\{(\w+)", code)) | set(re.findall(r"(?m)^ +(\w+):$", code)) & set(
        re.findall(r"\b(?:WAYMARK|OTEL)_\w+", code)
    )
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = {line[1:].partition("=")[0] for line in lines if re.match(r"#[A-Z_]+=", line)}
    only_for_compose_itself = {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"}
    inside_the_containers = {"WAYMARK_EVALUATE"}
    assert shown - only_for_compose_itself - inside_the_containers == read - inside_the_containers


def test_the_example_shows_the_defaults_that_the_file_has() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z_]+=", line))
    for name, default in re.findall(r"\$\{(\w+):-([^${}]+)\}", TEXT):
        if name not in {"WAYMARK_ENGINE", "WAYMARK_DEVICE", "WAYMARK_DTYPE", "WAYMARK_MAX_BATCH_TOKENS"}:  # of gpu
            assert shown[name] in {default, ""} or "deploy/docker/empty" in default, name


def test_the_example_shows_the_defaults_of_the_code() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = dict(line[1:].split("=", 1) for line in lines if re.match(r"#WAYMARK_[A-Z_]+=", line))
    for kind in (ServiceSettings, Settings):
        for name, field in kind.model_fields.items():
            text = shown.get(f"WAYMARK_{name.upper()}", "")
            if (
                isinstance(field.default, int | float)
                and not isinstance(field.default, bool)
                and text
                and name != "port"
            ):
                assert float(text) == field.default, name


def test_each_image_is_built_by_one_service() -> None:
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert len(built) == len(set(built))
    used = {service["image"] for service in SERVICES.values() if service["image"].startswith("waymark-")}
    assert used == set(built)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_container_is_bounded_and_hardened(service: str) -> None:
    settings = SERVICES[service]
    assert settings["logging"]["options"]["max-size"]
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["pids_limit"]
    lasting = settings["restart"] == "unless-stopped"
    assert not lasting or service.startswith("vllm") or settings["mem_limit"]
    assert not lasting or service in {"prometheus", "grafana"} or settings["healthcheck"]


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_has_a_value_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|TOKEN$|SECRET", name) and not name.endswith("_FILE"):
                assert value is None, name


def test_the_file_is_valid_by_the_compose_specification() -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("needs check-jsonschema, which brings the specification's schema")
    schemas = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    validator.validate(COMPOSE)
    validator.validate(yaml.safe_load((ROOT / "tests/e2e/compose/two-networks.yml").read_text()))


@pytest.mark.parametrize("profiles", PROFILES)
def test_docker_accepts_the_file_with_each_profile(profiles: str) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the docker command with its compose plug-in")
    settings = {"COMPOSE_PROFILES": profiles, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nowhere"}
    command = ["docker", "compose", "--env-file", "/dev/null", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("role", ["controller", "executor"])
def test_vllm_is_started_in_its_image_as_it_is_here(role: Role) -> None:
    folder = ROOT / "checkpoints" / "causal" / role
    assert vllm_arguments.arguments(folder) == server_arguments(checkpoint.load(folder, role))
