"""The version of the records in Redis, so that an older worker never reads or writes newer records.

The env-runner writes its number to `waymark:protocol` when it starts. A worker compares it with its own before it takes
an episode. If they differ, it ends, and its message names both versions. Raise `PROTOCOL` with every change of keys,
scripts or records that a process of the commit before would misread.
"""

from __future__ import annotations

import socket
from typing import Any

from waymark import __version__
from waymark.errors import VersionMismatch

PROTOCOL = 1
KEY = "waymark:protocol"
_LONGEST = 10
"""A number of so many digits is none of ours."""


def announce(redis: Any, where: str) -> None:
    """Write this process' number. Raises VersionMismatch if a newer one is there: its records might be misread."""
    announced = _read(redis)
    if announced is not None and announced[0] > PROTOCOL:
        raise VersionMismatch(
            f"Redis at {where} was used by waymark {announced[1]} (queue protocol {announced[0]}), "
            f"and this env-runner is waymark {__version__} (queue protocol {PROTOCOL}), which is older.",
            remedy="Start the newer version, or give this one a Redis of its own.",
        )
    redis.set(KEY, f"{PROTOCOL} {__version__}")


def check(redis: Any, where: str) -> None:
    """Raise VersionMismatch if the env-runner at this Redis speaks another protocol than this worker."""
    announced = _read(redis)
    if announced is None or announced[0] == PROTOCOL:
        return
    age = "older" if announced[0] > PROTOCOL else "newer"
    raise VersionMismatch(
        f"Worker {socket.gethostname()} is refused: it is waymark {__version__} (queue protocol {PROTOCOL}), {age} "
        f"than the env-runner at Redis {where}, which is waymark {announced[1]} (queue protocol {announced[0]}).",
        remedy="Start workers and env-runner from the same version.",
    )


def _read(redis: Any) -> tuple[int, str] | None:
    """The number and the version that are announced; None for nothing that can be read."""
    number, _, version = (redis.get(KEY) or "").partition(" ")
    return (int(number), version) if number.isdecimal() and len(number) < _LONGEST else None
