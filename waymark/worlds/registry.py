"""The worlds that there are, by name. A world is imported when it is asked for."""

from __future__ import annotations

from waymark.errors import CheckpointError
from waymark.worlds.base import PromptFormat


def get_format(name: str) -> PromptFormat:
    """The prompt format of that name. Raises CheckpointError that lists the known ones."""
    from waymark.worlds.scienceworld.prompts import FORMATS

    formats = {one.name: one for one in FORMATS}
    if name not in formats:
        raise CheckpointError(
            f"Unknown prompt format {name!r}.",
            remedy=f"This version knows {', '.join(formats)}; the checkpoint was made for another version.",
        )
    return formats[name]
