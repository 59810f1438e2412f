"""The commit of the checkout that holds this code, and whether the code was changed since.

A commit is returned only if it is certainly ours: `waymark/` stands in the repository's top folder, and the repository
tracks this code. So a repository around a virtual environment, one that vendors this package in a folder, or one that
`GIT_DIR` names does not count.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 5.0
_CODE = ("waymark", "services")
"""The folders whose changes count, because their code plays episodes."""
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
"""Settings that prevent git from running programs that a repository configures."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit, and whether the code that runs differs from it."""

    commit: str
    """The whole hash."""
    modified: bool
    """Files of `waymark/` or `services/` are changed, new or missing."""


def find_checkout(package: Path = Path(__file__).parents[1]) -> Checkout | None:
    """The checkout whose folder `waymark/` is this package; None if there is none, or if git fails."""
    package = package.resolve()
    root = package.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return None
    if _git(root, "ls-files", "--error-unmatch", "--", f"{package.name}/__init__.py") is None:
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD^{commit}")
    changes = _git(root, "status", "--porcelain", "--untracked-files=normal", "--", *_CODE)
    if not commit or changes is None:
        return None
    return Checkout(commit, modified=bool(changes))


def short_commit() -> str | None:
    """The first seven digits of the commit of the checkout that holds this code; None outside of one."""
    checkout = find_checkout()
    return None if checkout is None else checkout.commit[:7]


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git in a folder, without regard to git's environment variables; None: it failed."""
    command = ["git", *_SETTINGS, "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            env=_without_git(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _without_git(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that redirect git; `git status` writes no lock file."""
    kept = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    return kept | {"GIT_OPTIONAL_LOCKS": "0"}
