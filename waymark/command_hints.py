"""How messages name a command, so that it works as printed where it is printed.

A person starts Waymark as `./run` in a checkout, as `waymark` from an installed wheel, or as `python -m waymark`. Every
message that tells them to run something asks here how to write it. The variable WAYMARK_COMMAND, set by `run` and by
the stack for its services, says how the command in the foreground was started.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

COMMAND: Final = "WAYMARK_COMMAND"
DISTRIBUTION: Final = "waymark-agents"
"""The name that pip knows; the import name and the command are `waymark`."""
_ROOT: Final = Path(__file__).parents[1]
_NAME_ENDS: Final = "<>=!~;[ ("


def command(*arguments: str | Path, environment: Mapping[str, str] = os.environ) -> str:
    """A command of ours as it can be typed or pasted here.

    >>> command("report", Path("runs/a b"), environment={"WAYMARK_COMMAND": "./run"})
    "./run report 'runs/a b'"
    """
    return " ".join([command_name(environment), *(shlex.quote(str(argument)) for argument in arguments)])


def command_name(environment: Mapping[str, str] = os.environ) -> str:
    """How this process, or the command that started it, was called."""
    named = environment.get(COMMAND, "").strip()
    if named:
        return named
    called = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path()
    if called.name == "waymark":
        on_path = shutil.which("waymark")
        if on_path and os.path.abspath(on_path) == os.path.abspath(called):
            return "waymark"
        return shlex.quote(sys.argv[0])
    if called.name != "__main__.py" and shutil.which("waymark"):
        return "waymark"
    return f"{_python()} -m waymark"


def install(extra: str) -> str:
    """The command that installs what an extra lists into the environment of this process.

    It names the packages, not the extra: that works for a wheel, a checkout and before any release.
    """
    return " ".join([_python(), "-m pip install", *(shlex.quote(requirement) for requirement in requirements(extra))])


def install_package(extra: str, name: str) -> str:
    """The command that installs one package of an extra."""
    wanted = [requirement for requirement in requirements(extra) if _name(requirement) == name] or [name]
    return " ".join([_python(), "-m pip install", *map(shlex.quote, wanted)])


def make_vllm() -> str:
    """What to do for an environment with vLLM, as the beginning of a sentence: a checkout's `run` makes one."""
    script = _ROOT / "run"
    if not script.is_file():
        return "Install vLLM into an environment of its own and name its python in WAYMARK_VLLM_PYTHON"
    named = os.environ.get(COMMAND, "").strip()
    return f"Make it with `{named if named.endswith('run') else shlex.quote(str(script))} vllm`"


def as_called(text: str) -> str:
    """A text that names `python -m training`, with the command by which the training was called."""
    named = os.environ.get(COMMAND, "").strip()
    return text.replace("python -m training", f"{named} training") if named else text


def reinstall(names: Iterable[str] | None = None, *, force: bool = False) -> str:
    """The command that installs these of the packages that Waymark itself needs; None: all of them.

    `force`: also where they are installed already.
    """
    wanted = requirements("") if names is None else [requirement_of(name) or name for name in names]
    options = ["--force-reinstall"] if force else []
    return " ".join([_python(), "-m pip install", *options, *map(shlex.quote, wanted)])


def requirement_of(name: str) -> str | None:
    """What Waymark itself requires of a distribution, e.g. `rich==15.0.0`; None if it does not require it."""
    wanted = _normal(name)
    return next((found for found in requirements("") if _normal(_name(found)) == wanted), None)


def requirements(extra: str) -> list[str]:
    """What an extra asks for, e.g. `pyarrow==26.0.1`; extras of ours that it names are resolved.

    The empty name stands for what is always needed.
    """
    requirements_of_extra = _declared().get(extra, [])
    resolved: list[str] = []
    for requirement in requirements_of_extra:
        name, bracket, rest = requirement.partition("[")
        if bracket and name.strip() == DISTRIBUTION:
            for inner in rest.rstrip("] ").split(","):
                resolved += requirements(inner.strip())
        else:
            resolved.append(requirement)
    return list(dict.fromkeys(resolved))


def missing_packages(extra: str, wanted: Iterable[str] | None = None) -> list[str]:
    """The names of the packages of an extra, or those in `wanted` of them, that are not installed."""
    names = [_name(requirement) for requirement in requirements(extra)] if wanted is None else list(wanted)
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _name(requirement: str) -> str:
    end = next((place for place, letter in enumerate(requirement) if letter in _NAME_ENDS), len(requirement))
    return requirement[:end]


def _declared() -> dict[str, list[str]]:
    """The extras by name: of the checkout that this is, else of the installed distribution."""
    project = _ROOT / "pyproject.toml"
    if project.is_file():
        with project.open("rb") as file:
            described = tomllib.load(file)["project"]
        return {"": described["dependencies"], **described["optional-dependencies"]}
    extras: dict[str, list[str]] = {}
    try:
        listed = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        listed = []
    for line in listed:
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip(" '\"")
        extras.setdefault(extra, []).append(requirement.strip())
    return extras


def _python() -> str:
    on_path = shutil.which("python")
    return "python" if on_path and os.path.abspath(on_path) == sys.executable else shlex.quote(sys.executable)
