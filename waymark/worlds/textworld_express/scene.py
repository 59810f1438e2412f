"""What a look of TextWorldExpress says: the room, its exits, and what can be seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ROOM: Final = re.compile(r"You are in the ([a-z -]{1,60})\.", re.IGNORECASE)
_EXIT: Final = re.compile(
    r"\bto the (North|South|East|West) you see (a closed [a-z -]{1,60}|the [a-z -]{1,60})\.", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a room."""

    direction: str
    """`north`, `south`, `east` or `west`."""
    room: str | None
    """Where it leads; None behind a closed door."""


def room_of(look: str) -> str | None:
    """The room that a look describes.

    >>> room_of("You are in the side yard. To the North you see the parlor. ")
    'side yard'
    """
    match = _ROOM.search(look[:200])
    return match.group(1).lower() if match else None


def exits_of(look: str) -> tuple[Exit, ...]:
    """The ways out, in the order of the text.

    >>> exits_of("To the North you see a closed plain door. To the East you see the vault. ")
    (Exit(direction='north', room=None), Exit(direction='east', room='vault'))
    """
    return tuple(
        Exit(direction.lower(), None if beyond.lower().startswith("a closed") else beyond[4:].lower())
        for direction, beyond in _EXIT.findall(look)
    )
