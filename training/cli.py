"""Make checkpoints for the services: one command for each stage, each resumable.

From the simulator to a checkpoint: trajectories, annotate, datasets, finetune, export.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.exceptions import Abort, TyperException

from training.commands import annotation, checkpoints, datasets, finetune, reproduce, rollouts, speedrun, trajectories
from training.commands.console import RANK
from training.interruption import received
from training.user_files import FULL, reason
from waymark.command_hints import COMMAND, as_called
from waymark.commands.console import make_streams_safe
from waymark.errors import WaymarkError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=__doc__,
)
for _command in (
    trajectories.trajectories,
    rollouts.corrections,
    rollouts.self_play,
    annotation.annotate,
    annotation.subgoals,
    annotation.compare,
    annotation.rules,
    datasets.datasets,
    datasets.folds,
    finetune.finetune,
    checkpoints.export,
    checkpoints.convert,
    datasets.score,
    reproduce.reproduce,
    reproduce.base,
    reproduce.sizes,
    speedrun.speedrun,
):
    app.command()(_command)

_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "true",
}
"""Environment variables that stop libraries from writing between our lines, or from warning about things that are
intended."""
_MACHINE = (*FULL, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Failures that other arguments would not avoid."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit. An error that a user can mend is one line and exit code 2, other failures have code 1."""
    make_streams_safe()
    threading.excepthook = _thread_failed
    try:
        code = app(arguments, prog_name=_program(), standalone_mode=False)
    except WaymarkError as error:
        _fail(str(error))
    except TyperException as error:
        _fail_usage(error)
    except Abort:
        sys.exit(130)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        remedy = " Free some space and run the same command again." if error.errno in FULL else ""
        _fail(f"{reason(error).capitalize()}{where}.{remedy}", 1 if error.errno in _MACHINE else 2)
    except Exception:
        if number := received():  # a library that was interrupted has raised an error of its own
            sys.exit(128 + number)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread, except for a full disk: TensorBoard raises that in the main thread as well."""
    if not (isinstance(failure.exc_value, OSError) and failure.exc_value.errno in FULL):
        threading.__excepthook__(failure)


def _program() -> str | None:
    """The command as the user typed it: `./run training`, `waymark training`, or Python's module."""
    return f"{os.environ[COMMAND]} training" if os.environ.get(COMMAND) else None


def silence_libraries() -> None:
    """Silence what libraries print of their own accord."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _fail(message: str, code: int = 2) -> NoReturn:
    if RANK != "0":
        message = f"Process {RANK}: {message}"
    with suppress(OSError):
        Console(stderr=True).print(Text(as_called(" ".join(message.split())), style="bold red"), soft_wrap=True)
    sys.exit(code)


def _fail_usage(error: TyperException) -> NoReturn:
    """Print an error of the command line (an unknown option, a value out of range, a missing argument) and exit."""
    context = getattr(error, "ctx", None)
    message = error.format_message().replace("Value error, ", "").rstrip(".")  # pydantic's words for ours
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(error.exit_code)  # the help was asked for and is printed
    _fail(f"{message}. See {context.command_path} --help." if context else f"{message}.", error.exit_code)
