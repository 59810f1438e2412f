"""The direction of dependencies, what importing opens, and what the locks promise."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "ctranslate2", "py4j", "scienceworld", "redis", "pyarrow")


def lock(name: str) -> set[str]:
    return set((ROOT / "requirements" / f"{name}.lock").read_text().splitlines())


def packages(requirements: set[str]) -> set[str]:
    return {line.partition("==")[0] for line in requirements}


def test_every_import_contract_of_pyproject_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["waymark.contracts", "waymark.errors"])
def test_wire_contracts_and_errors_need_only_the_standard_library_and_pydantic(module: str) -> None:
    graph = grimp.build_graph("waymark", include_external_packages=True, cache_dir=None)
    package = {module, *graph.find_descendants(module)}
    imported = {name for part in package for name in graph.find_modules_directly_imported_by(part)}
    assert imported - package - set(sys.stdlib_module_names) <= {"pydantic"}


@pytest.mark.parametrize(
    "entry", ["waymark.serving", "waymark.clients.services", "waymark.cli.main", "waymark.agent.episode"]
)
def test_importing_opens_no_engine_simulator_or_store(entry: str) -> None:
    code = f"import sys, {entry}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_locks_are_nested_so_that_one_environment_serves_all_commands() -> None:
    assert lock("serve") < lock("default") < lock("test")


def test_an_evaluation_needs_neither_torch_nor_data_libraries() -> None:
    assert packages(lock("default")) & {"torch", "transformers", "pyarrow", "pandas", "datasets"} == set()


def test_locks_name_every_version_and_no_index() -> None:
    for line in lock("test") | lock("vllm"):
        assert "==" in line, line
        assert "://" not in line, line
        assert not line.startswith("-"), line
