"""Which commit is recorded: that of the checkout that holds the code, or none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from waymark.evaluation.git_checkout import Checkout, find_checkout

IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *IDENTITY, *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def package(folder: Path) -> Path:
    """A folder with this package's shape."""
    for name in ("waymark", "services", "tests"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    return folder / "waymark"


def committed(folder: Path) -> str:
    """Make a repository of all that is in a folder; its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README").write_text(folder.name)
    git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", "All of it")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, str]:
    """The package in a checkout, and its commit."""
    code = package(tmp_path / "ours")
    return code, committed(tmp_path / "ours")


def test_the_commit_is_that_of_the_checkout_around_the_code(checkout: tuple[Path, str]) -> None:
    code, commit = checkout
    assert find_checkout(code) == Checkout(commit, modified=False)


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"]
)
def test_variables_of_git_lead_to_no_other_repository(
    checkout: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    committed(tmp_path / "other")
    places = {"GIT_WORK_TREE": "", "GIT_INDEX_FILE": ".git/index", "GIT_OBJECT_DIRECTORY": ".git/objects"}
    monkeypatch.setenv(name, str(tmp_path / "other" / places.get(name, ".git")))
    code, commit = checkout
    assert find_checkout(code) == Checkout(commit, modified=False)
    outside = package(tmp_path / "installed")
    assert find_checkout(outside) is None


def test_variables_of_git_hide_no_checkout(
    checkout: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, commit = checkout
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path / "ours"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.worktree")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path))
    assert find_checkout(code) == Checkout(commit, modified=False)


@pytest.mark.parametrize("ignored", [True, False])
def test_a_repository_around_a_virtual_environment_is_not_ours(tmp_path: Path, ignored: bool) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".gitignore").write_text(".venv\n" if ignored else "")
    committed(project)
    assert find_checkout(package(project / ".venv" / "site-packages")) is None


def test_a_repository_that_vendors_the_code_is_not_ours(tmp_path: Path) -> None:
    code = package(tmp_path / "project" / "vendor")
    committed(tmp_path / "project")
    assert find_checkout(code) is None


def test_a_repository_that_does_not_track_it_is_not_ours(tmp_path: Path) -> None:
    committed(tmp_path / "project")
    assert find_checkout(package(tmp_path / "project")) is None


def test_a_copy_without_its_repository_has_no_commit(checkout: tuple[Path, str], tmp_path: Path) -> None:
    code, _ = checkout
    shutil.copytree(code, tmp_path / "copy" / "waymark")
    assert find_checkout(tmp_path / "copy" / "waymark") is None


def test_a_repository_without_commits_has_none(tmp_path: Path) -> None:
    code = package(tmp_path / "fresh")
    git(tmp_path / "fresh", "init", "-q")
    git(tmp_path / "fresh", "add", "--all")
    assert find_checkout(code) is None


def test_a_second_worktree_and_a_link_name_the_commit(checkout: tuple[Path, str], tmp_path: Path) -> None:
    code, commit = checkout
    git(code.parent, "worktree", "add", "-q", "--detach", str(tmp_path / "second"))
    assert find_checkout(tmp_path / "second" / "waymark") == Checkout(commit, modified=False)
    (tmp_path / "link").symlink_to(code)
    assert find_checkout(tmp_path / "link") == Checkout(commit, modified=False)


@pytest.mark.parametrize(
    ("file", "modified"),
    [
        ("waymark/__init__.py", True),
        ("services/new.py", True),
        ("tests/__init__.py", False),
        ("runs/episodes.jsonl", False),
    ],
)
def test_only_changed_code_is_reported(checkout: tuple[Path, str], file: str, modified: bool) -> None:
    code, commit = checkout
    changed = code.parent / file
    changed.parent.mkdir(exist_ok=True)
    changed.write_text("changed")
    assert find_checkout(code) == Checkout(commit, modified=modified)


@pytest.mark.parametrize("script", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\nprintf '\\377'\n"])
def test_without_a_working_git_there_is_no_commit(
    checkout: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    if script is not None:
        (path / "git").write_text(script)
        (path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(path))
    assert find_checkout(checkout[0]) is None
