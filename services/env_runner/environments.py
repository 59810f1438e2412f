"""The environments that a worker can play in, by the name that settings use. A simulator is imported when asked for."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from waymark.worlds.base import Environment

EnvironmentName = Literal["scienceworld", "scripted"]


def open_environment(name: EnvironmentName, *, memory_mb: float, timeout: float, cache: Path | None) -> Environment:
    """Start one; `scienceworld` takes 3 to 5 s. Raises EnvironmentFault, JavaMissing.

    A simulator that holds more than `memory_mb`, or takes more than `timeout` seconds for a step, is ended.
    In the folder `cache` simulators keep what makes the next ones faster.
    """
    if name == "scripted":
        from waymark.worlds.scripted.environment import ScriptedEnvironment

        return ScriptedEnvironment()
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

    return ScienceWorldSlot(memory_mb=memory_mb, timeout=timeout, cache=cache)


def environment_version(name: EnvironmentName) -> str:
    """What results record, e.g. `scienceworld 1.2.3`. Starts and imports nothing."""
    if name == "scripted":
        return name
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (not installed where the env-runner's app runs)"
