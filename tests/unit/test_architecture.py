"""The direction of dependencies, and what importing opens."""

import ast
import re
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
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    importers = {
        name: contract["allowed_importers"] for contract in contracts for name in contract.get("protected_modules", ())
    }
    assert worlds(package)
    for world in worlds(package):
        for importer in importers[f"{package}.{world}"]:
            assert importer.startswith("benchmarks.") or importer.rpartition(".")[2] in worlds(package)


def worlds(package: str) -> set[str]:
    return {path.parent.name for path in (ROOT / package.replace(".", "/")).glob("*/world.py")}


WORLDS = re.compile(rf"worlds[./](?:{'|'.join(sorted(worlds('waymark.worlds')))})\b")


def test_no_text_outside_a_world_names_its_modules() -> None:
    """A module that is imported by its name, `import_module("…")`, is no import to import-linter."""
    registries = {"waymark/worlds/registry.py", "training/worlds/registry.py"}
    for folder in ("waymark", "services", "training", "benchmarks", "tools", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name not in registries and not WORLDS.search(name):
                tree = ast.parse(path.read_text())
                texts = {id(node): node for node in ast.walk(tree) if isinstance(node, ast.Constant)}
                documented = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
                for node in documented:
                    texts.pop(id(node.value), None)
                assert not [text.value for text in texts.values() if WORLDS.search(str(text.value))], name


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
