"""The direction of dependencies, and what importing opens."""

import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "ctranslate2", "py4j", "scienceworld", "redis", "pyarrow")


def test_every_import_contract_of_pyproject_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["waymark.worlds", "training.worlds"])
def test_a_contract_protects_every_world(package: str) -> None:
    worlds = {f"{package}.{path.parent.name}" for path in (ROOT / package.replace(".", "/")).glob("*/world.py")}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = [set(contract.get("protected_modules", ())) for contract in contracts]
    assert worlds
    assert worlds in protected


@pytest.mark.parametrize("module", ["waymark.contracts", "waymark.errors"])
def test_contracts_and_errors_need_only_pydantic(module: str) -> None:
    graph = grimp.build_graph("waymark", include_external_packages=True, cache_dir=None)
    package = {module, *graph.find_descendants(module)}
    imported = {name for part in package for name in graph.find_modules_directly_imported_by(part)}
    assert imported - package - set(sys.stdlib_module_names) <= {"pydantic"}


@pytest.mark.parametrize(
    "entry", ["waymark.serving", "waymark.clients.services", "waymark.cli.main", "waymark.agent.episode_loop"]
)
def test_importing_opens_no_engine_simulator_or_store(entry: str) -> None:
    code = f"import sys, {entry}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
