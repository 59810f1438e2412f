"""Packages that are missing or broken, and Ctrl-C while they are imported, end `waymark` with a line or silently."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIGNAL = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
BINARY = "raise ImportError('libgone.so.1: cannot open shared object file', name='pydantic_core._core', path='/x.so')"


def run(folder: Path, modules: dict[str, str], words: Sequence[str] = ("--help",)) -> tuple[int, str, str]:
    """`python -m waymark` in which these modules stand before those that are installed: code, stdout and stderr."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "waymark", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["typer", "rich", "pydantic", "httpx"])
def test_a_missing_package_is_named_with_what_to_install(name: str, tmp_path: Path) -> None:
    text = f"raise ModuleNotFoundError('No module named', name='{name}')"
    code, printed, line = run(tmp_path, {name: text}, ["loadtest", "--help"])
    assert (code, printed) == (2, "")
    assert line.startswith(f"Waymark needs the package {name}, which is not installed. Install it again: ")
    assert f"{name}==" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("modules", "problem", "installs"),
    [
        ({"pydantic_core": BINARY}, "pydantic_core 2", "pydantic==2"),
        (
            {"pydantic_core": "raise SystemError('The version\\n is incompatible')"},
            "The version is incompatible",
            "pydantic",
        ),
        ({"typer": "app = 1"}, "'typer' is not a package", "typer=="),
        ({"httpx": "raise AttributeError('no \\x1b[31m')"}, "no ?[31m", "httpx=="),
        ({"rich": "import _gone_transitively"}, "_gone_transitively", "rich=="),
    ],
)
def test_a_broken_package_is_reported_in_one_line(
    modules: dict[str, str], problem: str, installs: str, tmp_path: Path
) -> None:
    code, printed, line = run(tmp_path, modules)
    assert (code, printed) == (2, "")
    assert problem in line
    assert installs in line.partition(" --force-reinstall ")[2]
    assert line.count("\n") == 1


def test_a_python_without_a_standard_module_is_named(tmp_path: Path) -> None:
    text = "raise ModuleNotFoundError(\"No module named '_ssl'\", name='_ssl')"
    code, _, line = run(tmp_path, {"httpx": text})
    assert code == 2
    assert "has no working module '_ssl'" in line
    assert "Use another Python" in line


def test_a_mistake_of_our_own_keeps_its_traceback(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['waymark.errors'] = None\nfrom importlib import import_module\n"
    code, _, text = run(tmp_path, {"usercustomize": hidden, "sitecustomize": hidden})
    assert code == 1
    assert "Traceback" in text
    assert "waymark.errors" in text


@pytest.mark.parametrize(
    "text", [f"{SIGNAL}\nimport time; time.sleep(60)", f"exec({SIGNAL!r})\nimport time; time.sleep(60)"]
)
@pytest.mark.parametrize("name", ["typer", "pydantic_core"])
def test_ctrl_c_while_packages_are_imported_is_silent(name: str, text: str, tmp_path: Path) -> None:
    assert run(tmp_path, {name: text}) == (130, "", "")


def test_ctrl_c_while_the_interpreter_ends_is_silent(tmp_path: Path) -> None:
    at_end = f"import atexit\natexit.register(lambda: exec({SIGNAL!r}))"
    code, _, text = run(tmp_path, {"sitecustomize": at_end}, ["--version"])
    assert (code, text) == (128 + signal.SIGINT, "")
