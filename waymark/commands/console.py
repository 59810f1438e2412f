"""The output of a command and its end: two consoles that no terminal can crash, and one line for each error.

Messages and progress go to stderr, tables and documents to stdout. Characters that the output's encoding lacks are
replaced. If a reader closes its pipe early, as `| head -1` does, the command prints no more; its exit code does not
change.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from contextlib import suppress
from typing import IO, Any, Final

from rich.console import Console
from rich.text import Text

from waymark.errors import CheckpointError, InvalidInput, NotFound, ServiceRejected, StackError, WaymarkError

SOME_ERRORED, BAD_INPUT, CANNOT_START, DIED, INTERRUPTED = 1, 2, 3, 4, 130
EXIT_CODES: Final = (
    "Exit codes: 0 all episodes finished; 1 some errored; 2 bad input or settings; 3 the stack cannot start; "
    "4 a service died mid-run, or results could not be written; 130 interrupted."
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_ERRORS: Final = "waymark-replace"
_PLAIN: Final = str.maketrans(
    {
        "…": "...",
        "–": "-",
        "—": "-",
        "·": "*",
        "≥": ">=",
        "≤": "<=",
        "→": "->",
        "▶": ">",
        "×": "x",
        "⋮": ":",
        "“": '"',
        "”": '"',
        "’": "'",
        "─": "-",
        "━": "-",
        "╸": "-",
        "╺": "-",
        "│": "|",
    }
)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replacements for characters that an encoding lacks: a plain spelling if there is one, else `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(letter if letter.isascii() else "?" for letter in spelled), error.end


codecs.register_error(_ERRORS, _replace)


class SafeConsole(Console):
    """A console that stops printing if its output is closed, or was never open.

    It prints texts as they are: names of files and of models may look like rich's markup (`[/b]`) or emoji (`:cat:`).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Discard all further output; the command continues."""
        self.quiet = True
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.file.fileno())
            os.close(nowhere)

    def print_document(self, data: Any) -> None:
        """Print a JSON document. Where the encoding is not Unicode, other characters are escaped as JSON has it."""
        unicode = (self.encoding or "").lower().replace("-", "").startswith("utf")
        self.print_json(data=data, ensure_ascii=not unicode)


def make_streams_safe() -> None:
    """Make stdout and stderr replace characters that they cannot encode; a closed stream is replaced by one that
    discards its output.
    """
    for name in ("stdout", "stderr"):
        stream: IO[str] | Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)


def is_output_error(error: OSError) -> bool:
    """Whether an error came from writing to stdout or stderr: it names no file, and is about a full disk or a broken
    device.
    """
    return error.filename is None and error.errno in _NO_ROOM


def end_streams() -> None:
    """Flush the streams, so that a closed pipe does not become an error at the interpreter's end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


out = SafeConsole()
err = SafeConsole(stderr=True)


def tell(text: str, style: str = "") -> None:
    """Print a message to stderr, as it is."""
    err.print(Text(text, style=style), soft_wrap=True)


def tell_error(error: WaymarkError) -> None:
    """Print an error as one line."""
    tell(one_line(str(error)), style="bold red")


def one_line(text: str) -> str:
    """A text without line breaks and control characters, which a quoted value may contain."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def is_bad_input(error: WaymarkError) -> bool:
    """Whether the user can solve the error with other arguments or settings."""
    if isinstance(error, StackError):
        return error.misconfigured
    return isinstance(error, InvalidInput | NotFound | ServiceRejected | CheckpointError)
