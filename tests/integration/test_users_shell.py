"""What a user's shell and working directory hold does not change or break what is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import SCRIPTED, Command
from waymark.child_processes.python_process import python_command, python_environment
from waymark.cli.embedded_redis import EmbeddedRedis

TRAP = "raise SystemExit('imported from the working directory')\n"
MODULES = ("json", "redis", "pydantic", "uvicorn", "logging", "sitecustomize", "usercustomize")
PACKAGES = ("services", "waymark", "training")


def set_traps(folder: Path) -> Path:
    """A folder with modules and packages that are called as ours and as those that we import."""
    folder.mkdir(exist_ok=True)
    for name in MODULES:
        (folder / f"{name}.py").write_text(TRAP)
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP)
    return folder


def evaluate(folder: Path, settings: Mapping[str, str], work: Path) -> tuple[int, str]:
    """Play one episode from within `work`, as the installed command does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")}
    code = "import sys; from waymark.cli.main import main; sys.argv[0] = 'waymark'; main()"
    root = Path(__file__).parents[2]
    start = f"import sys; sys.path.insert(0, {str(root)!r}); " + code
    done = subprocess.run(
        [sys.executable, "-E", "-P", "-c", start, "evaluate", *SCRIPTED, "--tasks", "4-2", "--runs", str(folder)],
        cwd=work,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_working_directory_with_modules_of_our_names_changes_nothing(tmp_path: Path) -> None:
    code, output = evaluate(tmp_path / "runs", {}, set_traps(tmp_path / "work"))
    assert code == 0, output


def test_pythons_variables_change_nothing(tmp_path: Path) -> None:
    traps = set_traps(tmp_path / "traps")
    settings = {
        "PYTHONPATH": str(traps),
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": str(traps / "json.py"),
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
    }
    code, output = evaluate(tmp_path / "runs", settings, tmp_path)
    assert code == 0, output


def test_a_started_process_gets_only_harmless_variables() -> None:
    inherited = {"PYTHONPATH": "/x", "PYTHONHOME": "/x", "PYTHONUNBUFFERED": "1", "PATH": "/bin"}
    assert python_environment(inherited, with_packages=False) == {"PYTHONUNBUFFERED": "1", "PATH": "/bin"}
    assert python_command("services.executor")[1:] == ["-P", "-m", "services.executor"]


@pytest.mark.parametrize("name", ["d" * 150, "with blanks", "ünïcode-✓", "per%41cent#?", 'quo"te'])
def test_an_evaluation_plays_with_any_tmpdir(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    command = Command(tmp_path, "evaluate", *SCRIPTED, "--tasks", "4-2", settings={"TMPDIR": str(tmp_path / name)})
    code, out, err = command.wait()
    assert code == 0, out + err
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_an_evaluation_plays_without_a_usable_tmpdir(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / "place").write_text("")
    command = Command(tmp_path, "evaluate", *SCRIPTED, "--tasks", "4-2", settings={"TMPDIR": str(tmp_path / "place")})
    code, out, err = command.wait()
    assert code == 0, out + err


@pytest.mark.parametrize("name", ["deep/" * 40 + "runs", "with blanks ✓"])
def test_redis_keeps_its_data_in_any_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    with EmbeddedRedis(folder) as redis:
        assert redis.url.startswith("unix:///")
    assert list(folder.iterdir())
