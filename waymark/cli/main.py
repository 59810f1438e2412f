"""The command line: `waymark` and its commands, which are in `waymark.commands`.

Progress and messages go to stderr, tables and documents to stdout. Errors are one line that says what to do.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer._click.exceptions import ClickException, NoSuchOption, UsageError

from waymark import __version__
from waymark.command_hints import command, command_name
from waymark.commands import evaluate, results, stack, training
from waymark.commands.console import (
    BAD_INPUT,
    DIED,
    EXIT_CODES,
    INTERRUPTED,
    end_streams,
    is_output_error,
    make_streams_safe,
    one_line,
    out,
    tell,
)
from waymark.loadtest.command import app as loadtest_app

_NAME = "waymark"
_SHOWN = 60

app = typer.Typer(
    help=f"Serve and evaluate small hierarchical language agents in text worlds.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point of the `waymark` command."""
    make_streams_safe()
    try:
        code = app(prog_name=_NAME, standalone_mode=False)
    except ClickException as error:
        code = _tell_usage(error)
    except typer.Abort:
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        if not is_output_error(error):
            raise
        tell(f"The output cannot be written: {error.strerror}.", style="bold red")
        code = DIED
    end_streams()
    sys.exit(code if isinstance(code, int) else 0)


def _tell_usage(error: ClickException) -> int:
    """One line for a wrong option or argument, and where the right ones are listed."""
    if type(error).__name__ == "NoArgsIsHelpError":
        out.print(error.format_message(), highlight=False, markup=False)
        return error.exit_code
    words: list[str] = []
    if isinstance(error, UsageError) and error.ctx is not None:
        words = error.ctx.command_path.split()[1:]
    message = one_line(error.format_message()).replace("Value error, ", "")
    value = _value_of(error) if isinstance(error, UsageError) else None
    if value is not None and repr(value[:_SHOWN]) not in message:
        message = f"{message.removesuffix('.')}; got {value[:_SHOWN]!r}."
    guesses = ", ".join(error.possibilities or []) if isinstance(error, NoSuchOption) else ""
    did_you_mean = f" Did you mean {guesses}?" if guesses and guesses not in message else ""
    end = "" if message.endswith((".", "?")) else "."
    tell(f"{message}{end}{did_you_mean} See {command(*words, '--help')}", style="bold red")
    return BAD_INPUT


def _value_of(error: UsageError) -> str | None:
    """The value that an option has on the command line or in its variable, as far as that is plain to see."""
    option = getattr(error, "param", None)
    names = getattr(option, "opts", [])
    for place, word in enumerate(sys.argv[1:], start=1):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(sys.argv[place + 1 :]), None)
    variable = getattr(option, "envvar", None)
    return os.environ.get(variable) if isinstance(variable, str) else None


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"{_NAME} {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of `waymark` itself."""


def _add(name: str, function: Callable[..., Any], *, epilog: str | None = EXIT_CODES, **settings: Any) -> None:
    """Register a command; its help names `waymark` as it is called here."""
    text = inspect.cleandoc(function.__doc__ or "").replace(f"`{_NAME} ", f"`{command_name()} ")
    app.command(name, help=text, epilog=epilog, **settings)(function)


app.add_typer(loadtest_app, name="loadtest")
_add("evaluate", evaluate.evaluate)
_add("resume", evaluate.resume)
_add("up", stack.up)
_add("down", stack.down, epilog=None)
_add("status", stack.status, epilog=None)
_add("serve", stack.serve, epilog=None)
_add("worker", stack.worker, epilog=None)
_add("recover", results.recover, epilog=None)
_add("report", results.show_report, epilog=None)
_add("export", results.export_run, epilog=None)
_add("compare", results.show_comparison, epilog=None)
_add("view", results.view, epilog=None)
_add(
    "training",
    training.training,
    epilog=None,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
