"""The environments that a worker can play in, by the name that settings use."""

from __future__ import annotations

from pathlib import Path

from waymark.worlds.base import Environment, EnvironmentLimits
from waymark.worlds.registry import get_world


def open_environment(name: str, *, memory_mb: float, timeout: float, cache: Path | None) -> Environment:
    """Start one; ScienceWorld takes 3 to 5 s. Raises EnvironmentFault, JavaMissing, and InvalidInput for the name.

    A simulator that uses more than `memory_mb`, or needs more than `timeout` seconds for a step, is ended. In the
    folder `cache` simulators store compiled code that makes later ones start faster.
    """
    return get_world(name).open(EnvironmentLimits(memory_mb=memory_mb, timeout=timeout, cache=cache))


def environment_version(name: str) -> str:
    """What results record, e.g. `scienceworld 1.2.3`. Starts nothing."""
    return get_world(name).version
