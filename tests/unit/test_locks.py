"""What the locks promise: one environment serves all commands, and pip installs no file that they do not list."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HASHED = ("serve", "transformers", "default", "test", "vllm")
REQUIREMENT = re.compile(r"([\w.-]+)==\S+( ; .+?)? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text()


def requirements(name: str) -> set[str]:
    """Each package with its version, its marker and its hashes."""
    return {match[0] for match in REQUIREMENT.finditer(lock(name))}


def packages(name: str) -> set[str]:
    return {match[1] for match in REQUIREMENT.finditer(lock(name))}


def test_the_locks_are_nested() -> None:
    assert requirements("serve") < requirements("default") < requirements("test")
    assert requirements("serve") < requirements("transformers") < requirements("test")


def test_an_evaluation_needs_neither_torch_nor_data_libraries() -> None:
    assert packages("default") & {"torch", "transformers", "pyarrow", "pandas", "datasets"} == set()


@pytest.mark.parametrize("name", HASHED)
def test_every_line_of_a_lock_has_version_or_hash(name: str) -> None:
    assert REQUIREMENT.sub("", lock(name)) == ""


def test_torch_has_the_version_of_pyproject_and_no_hash() -> None:
    assert f'"{lock("torch").strip()}"' in (ROOT / "pyproject.toml").read_text()
    assert all("torch" not in packages(name) for name in HASHED)


def test_every_installation_requires_hashes() -> None:
    """Only torch and this project are installed without."""
    apart = re.compile(r"torch|--editable|uninstall|build-arg|-m pip --disable-pip-version-check -qq install\)")
    for name in ("run", "Dockerfile"):
        for line in (ROOT / name).read_text().splitlines():
            if re.search(r"pip\b.*install", line) and not line.startswith("#") and not apart.search(line):
                assert "--require-hashes --no-deps" in line, line


def wheel(folder: Path) -> Path:
    """A package with nothing in it."""
    file = folder / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"nothing-1.0.dist-info/{name}", text)
    return file


def test_run_refuses_a_file_whose_hash_has_changed(tmp_path: Path) -> None:
    file = wheel(tmp_path)
    checkout = tmp_path / "checkout"
    (checkout / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "run", checkout)
    (checkout / "pyproject.toml").touch()
    venv.create(checkout / ".venv", symlinks=True)
    [packages] = (checkout / ".venv").glob("lib/python*/site-packages")
    (packages / "pip-of-the-tests.pth").write_text(sysconfig.get_path("purelib"))
    (checkout / ".venv" / "default.stamp").write_text(f"{checkout}\n")
    variables = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def install(digest: str) -> str:
        (checkout / ".venv" / "default.stamp").write_text(f"{checkout}\n")
        (checkout / "requirements" / "default.lock").write_text(f"nothing==1.0 \\\n    --hash=sha256:{digest}\n")
        done = subprocess.run(
            [checkout / "run", "--help"], env=variables, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode != 0  # there is no project to install
        return done.stderr

    assert "DO NOT MATCH THE HASHES" in install("0" * 64)
    assert not (packages / "nothing-1.0.dist-info").exists()
    assert "HASHES" not in install(hashlib.sha256(file.read_bytes()).hexdigest())
    assert (packages / "nothing-1.0.dist-info").exists()


def test_run_does_not_empty_the_target_of_a_linked_environment(tmp_path: Path) -> None:
    checkout, environment = tmp_path / "checkout", tmp_path / "environment"
    (checkout / "requirements").mkdir(parents=True)
    (checkout / "requirements" / "default.lock").touch()
    (checkout / "pyproject.toml").touch()
    shutil.copy(ROOT / "run", checkout)
    environment.mkdir()
    (environment / "kept").touch()
    (checkout / ".venv").symlink_to(environment)
    done = subprocess.run([checkout / "run", "--help"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert f"{checkout}/.venv is a link to {environment}" in done.stderr
    assert "Remove the link" in done.stderr
    assert (environment / "kept").exists()
