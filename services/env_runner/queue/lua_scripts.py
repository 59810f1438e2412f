"""The Lua scripts, each a file of its own beside this module."""

from __future__ import annotations

from pathlib import Path


def script(name: str, *included: str) -> str:
    """The text of `NAME.lua`, preceded by the scripts whose functions it uses."""
    folder = Path(__file__).parent
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*included, name))
