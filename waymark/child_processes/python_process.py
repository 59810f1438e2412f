"""How a Python process of ours is started, whatever the user's shell and working directory hold.

`python -P` keeps the working directory off the module path, so a `services/`, a `redis.py` or a `json.py` there is
never imported. Variables that change what Python loads (PYTHONPATH, PYTHONHOME, PYTHONSTARTUP, …) are not handed on;
the process finds the packages where this one has them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

KEPT: Final = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONNOUSERSITE",
        "PYTHONPYCACHEPREFIX",
        "PYTHONTRACEMALLOC",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
    }
)
"""Variables of Python's that are handed on: they change no module path and stop no process."""
_ROOT: Final = Path(__file__).parents[2]
"""The folder that holds `waymark/`; in a checkout `services/` and `training/` too."""
_BUNDLED: Final = Path(__file__).parents[1] / "_bundled"
"""Where a wheel holds `services/` and `training/`, so that it installs one top-level package alone."""
_SITE: Final = frozenset({"site-packages", "dist-packages"})


def python_command(module: str, *arguments: str, python: str | None = None) -> list[str]:
    """A command that runs a module, by default with this process's interpreter."""
    return [python or sys.executable, "-P", "-m", module, *arguments]


def python_environment(environment: Mapping[str, str] = os.environ, *, with_packages: bool = True) -> dict[str, str]:
    """The environment of a Python process; `with_packages`: it finds the packages where this process has them."""
    kept = {name: value for name, value in environment.items() if not name.startswith("PYTHON") or name in KEPT}
    return kept | _path() if with_packages else kept


def _path() -> dict[str, str]:
    """The packages' folders. That of an installed wheel itself is the interpreter's own and is not named."""
    folders = [folder for folder, wanted in ((_BUNDLED, _BUNDLED.is_dir()), (_ROOT, _ROOT.name not in _SITE)) if wanted]
    return {"PYTHONPATH": os.pathsep.join(map(str, folders))} if folders else {}
