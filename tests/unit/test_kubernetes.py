"""deploy/kubernetes, rendered for the three examples and validated against the schemas of Kubernetes."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from services.env_runner.settings import Settings
from waymark.serving.settings import ServiceSettings

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
EXAMPLES = ("small", "production", "gpu")
OLDEST = "1.34"
"""The oldest version of Kubernetes whose schemas the objects are held to."""
OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
"""Kinds that Kubernetes has no schema of."""


@cache
def _text(example: str) -> str:
    """An example as it is applied."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, which renders kustomizations")
    command = ["kubectl", "kustomize", str(FOLDER / "examples" / example)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rendered(example: str) -> list[dict[str, Any]]:
    """The objects of an example."""
    objects: list[dict[str, Any]] = list(yaml.load_all(_text(example), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return objects


def of(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind by name."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pod specifications by the name of what makes the pods."""
    return {
        name: item["spec"]["template"]["spec"]
        for kind in ("Deployment", "StatefulSet")
        for name, item in of(objects, kind).items()
    }


@pytest.mark.parametrize("version", [OLDEST, "1.37"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_is_valid_by_the_schemas_of_kubernetes(example: str, version: str) -> None:
    if find_spec("kubernetes_validate") is None:
        pytest.skip("needs kubernetes-validate, which brings the schemas")
    kubernetes_validate: Any = import_module("kubernetes_validate")

    objects = rendered(example)
    checked = [item for item in objects if item["kind"] not in OF_KEDA]
    assert len(checked) > 15
    for item in checked:
        kubernetes_validate.validate(item, version, strict=True)


def test_a_wrong_object_is_not_valid() -> None:
    if find_spec("kubernetes_validate") is None:
        pytest.skip("needs kubernetes-validate, which brings the schemas")
    kubernetes_validate: Any = import_module("kubernetes_validate")

    wrong = of(rendered("small"), "Deployment")["worker"]
    wrong["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_pod_is_confined_probed_and_bounded(example: str) -> None:
    for name, pod in pods(rendered(example)).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"], name
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


@pytest.mark.parametrize("example", EXAMPLES)
def test_pods_read_only_settings_that_exist(example: str) -> None:
    objects = rendered(example)
    known = {f"WAYMARK_{name.upper()}" for kind in (ServiceSettings, Settings) for name in kind.model_fields}
    [settings] = of(objects, "ConfigMap").values()
    named = set(settings["data"]) | {
        variable["name"]
        for pod in pods(objects).values()
        for container in pod["containers"]
        for variable in container.get("env", [])
    }
    assert named - {"WAYMARK_API_KEY"} <= known


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_secret_is_part_of_the_manifests(example: str) -> None:
    assert of(rendered(example), "Secret") == {}


@pytest.mark.parametrize("example", EXAMPLES)
def test_selectors_and_ports_fit_the_pods(example: str) -> None:
    objects = rendered(example)
    labels = {
        name: item["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "StatefulSet")
        for name, item in of(objects, kind).items()
    }
    for name, service in of(objects, "Service").items():
        assert service["spec"]["selector"].items() <= labels[name].items()
        ports = {port["name"] for container in pods(objects)[name]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for name, budget in of(objects, "PodDisruptionBudget").items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    assert {"controller", "executor", "env-runner", "worker"} <= set(of(objects, "PodDisruptionBudget"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_nothing_reaches_a_pod_unless_a_policy_says_so(example: str) -> None:
    policies = of(rendered(example), "NetworkPolicy")
    assert policies["default-deny"]["spec"]["podSelector"] == {}
    assert set(policies["default-deny"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policies["default-deny"]["spec"]
    for name in ("controller", "executor"):
        [rule] = policies[name]["spec"]["ingress"]
        callers = [peer["podSelector"]["matchLabels"] for peer in rule["from"] if "podSelector" in peer]
        assert {caller["app.kubernetes.io/name"] for caller in callers} == {"env-runner", "worker"}
        assert "egress" not in policies[name]["spec"]


@pytest.mark.parametrize("example", ["production", "gpu"])
def test_replicas_follow_the_load(example: str) -> None:
    objects = rendered(example)
    deployments = of(objects, "Deployment")
    for name, scaler in of(objects, "HorizontalPodAutoscaler").items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
    scaled = of(objects, "ScaledObject")["worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] in deployments
    for trigger in scaled["triggers"]:
        assert trigger["type"] == "metrics-api"
        assert re.fullmatch(r'waymark_episodes\{state="(waiting|running)"\}', trigger["metadata"]["valueLocation"])
        assert trigger["authenticationRef"]["name"] in of(objects, "TriggerAuthentication")


def test_the_gpu_pool_gets_gpus_and_the_image_for_them() -> None:
    on_gpu = pods(rendered("gpu"))
    for name in ("controller", "executor"):
        [container] = on_gpu[name]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert "waymark-serve-cuda:" in container["image"]
        assert on_gpu[name]["nodeSelector"] == {"waymark.pool": "gpu"}
    assert "nodeSelector" not in on_gpu["worker"]


def test_own_checkpoints_replace_those_of_the_image() -> None:
    [container] = pods(rendered("production"))["executor"]["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/app/checkpoints"]["readOnly"] is True
