"""The console of the training commands: messages and progress bars on stderr."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, Any, Final, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

RANK: Final = os.environ.get("RANK", "0")
"""This process's number among those that a launcher has started, from 0."""


class _Stderr:
    """Stderr that ignores errors of writing, so that a closed pipe or terminal does not end hours of training."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


console: Final = Console(file=cast(IO[str], _Stderr()), quiet=RANK != "0", markup=False, emoji=False)
"""Prints to stderr. With several processes only the first one prints. Texts are printed unchanged, because
names may look like rich's markup."""


def progress_bar() -> Progress:
    """A bar on stderr with the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def say(text: str) -> None:
    """Print a line to stderr as it is, without markup, colours or line breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
