"""`waymark training …`: the training commands, also if they are not on the module path, as after the installation of a
wheel."""

from __future__ import annotations

import os
import sys

import typer

from waymark.child_processes.python_process import python_command, python_environment
from waymark.command_hints import COMMAND, command_name, install, missing_packages
from waymark.commands.play_evaluations import errors_reported
from waymark.errors import StackError


def training(ctx: typer.Context) -> None:
    """Run a training command. The same as `python -m training`.

    Example: `waymark training finetune executor`.
    """
    with errors_reported():
        missing = missing_packages("train")
        if missing:
            raise StackError(
                f"Training needs packages that are not installed: {', '.join(missing)}.",
                remedy=f"Install them: {install('train')}",
            )
    sys.stdout.flush()
    process = python_command("training", *(ctx.args or ["--help"]))
    os.execve(process[0], process, {**python_environment(), COMMAND: command_name()})  # noqa: S606 - no shell is wanted
