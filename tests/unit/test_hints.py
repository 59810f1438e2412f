"""What messages tell a person to type works as printed, however Waymark was called."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from waymark import command_hints

ROOT = Path(__file__).parents[2]
PACKAGES = ("waymark", "services")
ALLOWED = {"waymark/command_hints.py"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize("called", ["./run", "../waymark/run", "'/a b/run'", "waymark"])
def test_a_command_is_named_as_it_was_called(called: str) -> None:
    text = command_hints.command("report", Path("runs/a b"), environment={command_hints.COMMAND: called})
    assert text == f"{called} report 'runs/a b'"


def test_a_module_is_named_with_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/waymark/__main__.py"])
    name = command_hints.command_name({})
    assert name.endswith(" -m waymark")
    done = subprocess.run(f"{name} --version", shell=True, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("waymark ")


def test_a_program_outside_path_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/some where/bin/waymark"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_hints.command_name({}) == "'/some where/bin/waymark'"


@pytest.mark.parametrize("extra", ["env", "torch", "parquet", "loadtest", "plot", "otel", "train"])
def test_an_installation_names_packages_with_versions(extra: str) -> None:
    command = command_hints.install(extra)
    assert re.search(r"-m pip install( '?[a-z0-9-]+==[0-9a-z.]+'?)+$", command), command
    assert "waymark" not in command.partition("pip install")[2]


def test_an_extra_that_names_others_holds_their_packages() -> None:
    assert set(command_hints.requirements("env")) <= set(command_hints.requirements("train"))


@pytest.mark.parametrize("place", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_message_names_a_command_or_package_by_itself(place: Path) -> None:
    """`pip install waymark` is somebody else's package, and `waymark` may not be on PATH."""
    if place.relative_to(ROOT).as_posix() in ALLOWED:
        return
    for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{place}:{number}: {line}"
        assert "waymark[" not in line, where
        assert "pip install" not in line or line.lstrip().startswith(("#", '"""')), where
        if re.search(r"(remedy=|tell\(|say\().*[\"'].*`waymark ", line):
            pytest.fail(where)


COMMANDS = "down|evaluate|export|loadtest|recover|report|resume|status|training|up|view|worker"


@pytest.mark.parametrize("place", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_holds_a_command_as_if_waymark_were_on_path(place: Path) -> None:
    """Docstrings may: help texts and references are about the installed command."""
    tree = ast.parse(place.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    assert not [text for text in texts if re.search(rf"\bwaymark ({COMMANDS})\b", text)]


def test_training_is_named_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Record it again: python -m training trajectories."
    monkeypatch.setenv(command_hints.COMMAND, "./run")
    assert command_hints.as_called(text) == "Record it again: ./run training trajectories."
    monkeypatch.delenv(command_hints.COMMAND)
    assert command_hints.as_called(text) == text


def test_the_run_script_names_itself_as_it_was_called(tmp_path: Path) -> None:
    text = (ROOT / "run").read_text()
    assert "WAYMARK_COMMAND=$(printf '%q' \"$called\") exec" in text
