"""Options that several commands share, and how lists in options are read."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from waymark.errors import InvalidInput
from waymark.inference.open_engine import Engine
from waymark.worlds.registry import WORLD_NAMES, WorldName

EngineOption = Annotated[
    Engine,
    typer.Option(
        envvar="WAYMARK_ENGINE", metavar="NAME", help=f"Engine that runs the models: {', '.join(get_args(Engine))}."
    ),
]
EnvironmentOption = Annotated[
    WorldName,
    typer.Option(
        "--world",
        "--environment",
        envvar="WAYMARK_ENVIRONMENT",
        metavar="NAME",
        help=f"World to play: {', '.join(WORLD_NAMES)}.",
    ),
]
SlotsOption = Annotated[
    int | None,
    typer.Option(
        envvar="WAYMARK_SLOTS",
        min=1,
        max=256,
        help="Episodes played at once. Default: 3 for every 2 cores.",
    ),
]
CheckpointsOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with controller/ and executor/, optionally flat/ and first/. Default: the world's shipped models.",
        show_default=False,
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(envvar="WAYMARK_URL", help="Use the env-runner at this address instead of starting a stack."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
RunsOption = Annotated[Path, typer.Option(envvar="WAYMARK_RUNS", help="Folder for results and logs.")]

_RANGE: Final = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")
_MOST: Final = 20_000
_SHOWN: Final = 60


def finite(number: float | None) -> float | None:
    """The callback of every option that takes a float. A range without a maximum would accept `inf`.

    Raises typer.BadParameter for numbers that are not finite.
    """
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number.")
    return number


def items(text: str | None) -> tuple[str, ...] | None:
    """The parts between commas, without blanks around them; None for None."""
    return None if text is None else tuple(item.strip() for item in text.split(",") if item.strip())


def variations_of(text: str | None) -> tuple[int, ...] | None:
    """Numbers and ranges between commas.

    >>> variations_of("0-2,7")
    (0, 1, 2, 7)

    Raises InvalidInput (field `variations`).
    """
    parts = items(text)
    if parts is None:
        return None
    numbers: list[int] = []
    for part in parts:
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first >= _MOST or len(numbers) > _MOST:
            raise InvalidInput(
                "Variations must be a comma-separated list of numbers or ranges such as 0-3; "
                f"got {(text or '')[:_SHOWN]!r}.",
                field="variations",
            )
        numbers.extend(range(first, last + 1))
    return tuple(numbers)
