"""Explains in one line why a package could not be imported. Imports only the standard library."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from importlib import metadata
from types import TracebackType
from typing import Final

from waymark.command_hints import missing_packages, reinstall, requirement_of

_OURS: Final = frozenset({"waymark", "services", "training", "__main__"})
_IMPORT_SYSTEM: Final = frozenset({"importlib", "_frozen_importlib", "_frozen_importlib_external"})
_STANDARD: Final = frozenset(name.lstrip("_") for name in sys.stdlib_module_names)
_SHOWN: Final = 200
"""Characters of another package's message that are quoted."""


def explain(error: Exception) -> str | None:
    """What is missing or broken, and the command that installs it; None if the error comes from our own code."""
    importers = [package for package, _ in reversed(list(_frames(error.__traceback__)))]
    package = ""
    if isinstance(error, ImportError):
        package = (error.name or importers[0]).partition(".")[0]
    elif _is_import_of_ours(error.__traceback__):
        package = importers[0]
    if not package or package in _OURS:
        return None
    if package.lstrip("_") in _STANDARD:
        return (
            f"Python at {sys.executable} has no working module {package!r}, which belongs to its standard library: "
            f"{_reason(error)}. Use another Python from 3.11 to 3.14, on Linux or macOS."
        )
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        problem = f"Waymark needs the package {package}, which is not installed."
        if missing := missing_packages(""):
            return f"{problem} Install it: {reinstall(missing)}"
    else:
        problem = f"The package {package}{_version(package)} cannot be imported: {_reason(error)}."
    required = next(filter(None, map(_required, (package, *importers))), package)
    return f"{problem} Install it again: {reinstall([required], force=True)}"


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, TracebackType]]:
    """Each frame and the top-level package of its code, outermost first, without those of the import system."""
    while traceback is not None:
        package = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _IMPORT_SYSTEM:
            yield package, traceback
        traceback = traceback.tb_next


def _is_import_of_ours(traceback: TracebackType | None) -> bool:
    """Whether our innermost frame was importing a module."""
    ours = [frame for package, frame in _frames(traceback) if package in _OURS]
    return bool(ours) and dis.opname[ours[-1].tb_frame.f_code.co_code[ours[-1].tb_lasti]] == "IMPORT_NAME"


def _reason(error: Exception) -> str:
    """The message of an error as one line of printable text."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(error).split()))
    return (text or type(error).__name__)[:_SHOWN].rstrip(".")


def _version(package: str) -> str:
    """The installed version of a package, with a blank before it; empty if it is not known."""
    names = metadata.packages_distributions().get(package, [])
    return f" {metadata.version(names[0])}" if names else ""


def _required(package: str) -> str | None:
    """The distribution that brings a package, if Waymark itself requires it."""
    names = [*metadata.packages_distributions().get(package, []), package]
    return next((name for name in names if requirement_of(name)), None)
