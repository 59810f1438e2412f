"""Checks whether an engine can run on this machine, without importing it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from waymark.command_hints import install, reinstall
from waymark.errors import EngineUnavailable

_PACKAGES: Final = {
    "ctranslate2": ("ctranslate2",),
    "transformers": ("torch", "transformers", "safetensors"),
}
"""The packages that each engine imports."""


def check_engine(engine: str, *, vllm_urls: str = "", vllm_python: str = "") -> None:
    """Raise EngineUnavailable where the engine's package is missing. `vllm_urls` are addresses of servers that are
    already running.
    """
    if engine == "vllm" and not vllm_urls.strip(" ,"):
        from waymark.inference.engines.vllm_process import find_python

        find_python(Path(vllm_python) if vllm_python else None)
    for package in _PACKAGES.get(engine, ()):
        if find_spec(package) is None:
            raise missing_package(engine, package)


def missing_package(engine: str, package: str) -> EngineUnavailable:
    """The error for an engine whose package is not installed."""
    return EngineUnavailable(
        f"The {engine} engine needs the package {package}, which is not installed.",
        remedy=f"Install it: {reinstall() if engine == 'ctranslate2' else install('torch')}",
    )
