"""The wheel in an environment of its own: one package lands there, and it works, or says what to install.

The packages that Waymark needs come from the environment that runs the tests; nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from waymark.command_hints import DISTRIBUTION

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "checkpoints"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy that holds what a checkout would."""
    if shutil.which("hatchling", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("hatchling, which builds the wheel, is not installed")
    copy, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    for name in ("waymark", "services", "training", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=120)
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a virtual environment that has the wheel alone."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False, symlinks=True)
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *options, str(wheel)], check=True, capture_output=True, timeout=120)
    return place


def site(place: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))


@pytest.fixture(scope="module")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the packages that evaluations need, borrowed from the environment of the tests."""
    place = tmp_path_factory.mktemp("complete")
    venv.create(place, with_pip=False, symlinks=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site(place))
    script = place / "bin" / "waymark"
    script.write_text(f"#!{place}/bin/python\nfrom waymark.cli.entry import main\nmain()\n")
    script.chmod(0o755)
    lend(place, leave_out=("torch", "transformers", "pyarrow"))
    return place


def lend(place: Path, leave_out: tuple[str, ...] = ()) -> None:
    """Link the packages of this environment into another; never those that are ours."""
    there = site(place)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        name = path.name.lower()
        ours = name.startswith(("waymark", "_waymark", "__editable__", "__pycache__"))
        if not ours and not name.startswith(leave_out) and not (there / path.name).exists():
            (there / path.name).symlink_to(path)


def run(
    place: Path, folder: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`waymark` of an environment, in a folder that holds nothing of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WAYMARK_", "PYTHON"))}
    kept["PATH"] = f"{place / 'bin'}:{kept['PATH']}"
    return subprocess.run(
        [str(place / "bin" / "waymark"), *arguments],
        cwd=folder,
        env=kept | dict(settings or {}),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_nothing_but_our_package_lands_in_site_packages(installed: Path) -> None:
    names = {path.name for path in site(installed).iterdir()}
    assert names == {"waymark", *(name for name in names if name.startswith("waymark_agents-"))}
    assert len(names) == 2


def test_the_wheel_carries_what_it_runs_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for wanted in (
        "waymark/_bundled/services/env_runner/web/index.html",
        "waymark/_bundled/services/controller/__main__.py",
        "waymark/_bundled/training/__main__.py",
        "waymark/environment/java/episode.jar",
        "waymark/worlds/scienceworld/training_subgoals.txt",
    ):
        assert any(name.endswith(Path(wanted).name) for name in names), wanted
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "services/", "training/"))]


@pytest.mark.parametrize("words", ["evaluate", "--help", "serve controller"])
def test_the_wheel_alone_says_which_packages_to_install(words: str, installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "needs the package typer, which is not installed" in line
    assert "-m pip install anyio==" in line
    assert "typer==" in line
    assert DISTRIBUTION not in line


def test_ctrl_c_during_the_imports_of_the_installed_script_is_silent(installed: Path, tmp_path: Path) -> None:
    """`typer` is the first package that is imported; one of that name sends the signal."""
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    done = run(installed, tmp_path, "evaluate", settings={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_evaluation_plays_from_the_wheel(complete: Path, tmp_path: Path) -> None:
    done = run(complete, tmp_path, "evaluate", "--engine", "scripted", "--environment", "scripted", "--tasks", "4-2")
    assert done.returncode == 0, done.stderr
    assert "`waymark report runs/" in done.stderr
    [folder] = (tmp_path / "runs").glob("*/evaluation.json")
    again = run(complete, tmp_path, "report", str(folder.parent.relative_to(tmp_path)))
    assert again.returncode == 0, again.stderr
    assert "Score" in again.stdout


def test_the_wheel_reports_at_once_that_checkpoints_are_missing(complete: Path, tmp_path: Path) -> None:
    done = run(complete, tmp_path, "evaluate", "--tasks", "4-2")
    assert done.returncode == 2, done.stderr
    assert "brings no checkpoints" in done.stderr
    assert "--checkpoints FOLDER" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_plays_with_checkpoints_of_elsewhere(complete: Path, tmp_path: Path) -> None:
    arguments = ("--environment", "scripted", "--tasks", "4-2", "--checkpoints", str(CHECKPOINTS), "--json")
    done = run(complete, tmp_path, "evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    assert '"engine": "ctranslate2"' in done.stdout


def test_a_missing_engine_is_reported_with_a_working_command(complete: Path, tmp_path: Path) -> None:
    arguments = ("--engine", "transformers", "--checkpoints", str(CHECKPOINTS))
    done = run(complete, tmp_path, "evaluate", *arguments)
    assert done.returncode in {2, 3}
    assert "needs the package torch" in done.stderr
    assert "-m pip install " in done.stderr
    assert "torch==" in done.stderr
    assert DISTRIBUTION not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_export_names_the_package_that_it_lacks(complete: Path, tmp_path: Path) -> None:
    scripted = ("--engine", "scripted", "--environment", "scripted")
    assert run(complete, tmp_path, "evaluate", *scripted, "--tasks", "4-2").returncode == 0
    [header] = (tmp_path / "runs").glob("*/evaluation.json")
    done = run(complete, tmp_path, "export", str(header.parent), "results.parquet")
    assert done.returncode == 2
    assert "pip install pyarrow==" in done.stderr


def test_packages_that_evaluations_lack_are_named_at_once(complete: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("redis", "py4j"):
        link = site(complete) / name
        link.rename(hidden / name)
    try:
        done = run(complete, tmp_path, "evaluate", "--checkpoints", str(CHECKPOINTS))
    finally:
        for name in ("redis", "py4j"):
            (hidden / name).rename(site(complete) / name)
    assert done.returncode in {2, 3}
    assert "not installed: redis, py4j" in done.stderr
    assert "pip install" in done.stderr
    assert "redis==" in done.stderr


@pytest.mark.parametrize("words", ["evaluate --environment scripted", "serve executor"])
def test_packages_that_only_services_import_are_named_at_once(words: str, complete: Path, tmp_path: Path) -> None:
    described = next(site(complete).glob("uvicorn-*.dist-info"))
    described.rename(tmp_path / described.name)
    try:
        done = run(complete, tmp_path, *words.split())
    finally:
        (tmp_path / described.name).rename(described)
    assert done.returncode == 3, done.stderr
    [line] = done.stderr.splitlines()
    assert "not installed: uvicorn." in line
    assert "pip install uvicorn==" in line


def test_training_runs_from_the_wheel_or_names_missing_packages(complete: Path, tmp_path: Path) -> None:
    done = run(complete, tmp_path, "training", "--help")
    assert done.returncode in {0, 3}
    assert "finetune" in done.stdout or "-m pip install" in done.stderr


def _extras() -> set[str]:
    """The modules that only extras bring: none of them is there after `pip install` of the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        re.split(r"[<=\[;]", requirement)[0]
        for extra in project["optional-dependencies"].values()
        for requirement in extra
    }
    distributions = {name.lower().replace("_", "-"): set[str]() for name in names}
    for module, brought_by in packages_distributions().items():
        for distribution in brought_by:
            distributions.setdefault(distribution.lower().replace("_", "-"), set()).add(module)
    needed = {re.split(r"[<=\[;]", requirement)[0].lower() for requirement in project["dependencies"]}
    extras = {name.lower().replace("_", "-") for name in names} - needed - {"waymark-agents"}
    return {module for name in extras for module in distributions.get(name, ()) if not module.startswith("_")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("evaluate", "-m pip install"),
        ("up", "-m pip install"),
        ("loadtest http://127.0.0.1:1", "aiohttp"),
        ("report nowhere", "No run at nowhere"),
        ("export nowhere x.csv", "No run at nowhere"),
        ("status", "Nothing runs"),
        ("view", "redis, sse-starlette"),
        ("serve env-runner", "redis, sse-starlette"),
        ("--help", ""),
    ],
)
def test_each_command_runs_with_the_packages_of_the_wheel_alone(words: str, says: str, tmp_path: Path) -> None:
    extras = _extras()
    assert {"tenacity", "redis", "aiohttp", "torch"} <= extras
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(extras)!r}))\n"
        f"sys.argv[1:] = {words.split()!r}; from waymark.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert done.returncode in {0, 2, 3}
