"""The start of `waymark`, as an installed script and as `python -m waymark`.

The modules of the command take a second to import. Ctrl-C in that time ends the process without a traceback, and a
package that is missing or broken is reported as one line. So this module imports only what it needs to say that, from
the standard library, and only inside `main`.
"""

from __future__ import annotations

import sys

_BAD_INPUT = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    try:
        _handle_ctrl_c()
        try:
            from waymark.cli.main import main as run
        except Exception as error:
            _end_if_broken(error)
            raise
        try:
            run()
        except ImportError as error:  # some packages are imported only where they are needed
            _end_if_broken(error)
            raise
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        _end_silently_on_ctrl_c()


def _handle_ctrl_c() -> None:
    import signal

    from waymark.cli.interrupts import interrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def _end_silently_on_ctrl_c() -> None:
    """From now on Ctrl-C ends the process without an exception, which would be printed while the interpreter ends."""
    import os
    import signal

    if callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))


def _end_if_broken(error: Exception) -> None:
    """Print one line and exit if a package other than ours, or Python itself, is missing or broken."""
    from waymark.cli.broken_packages import explain

    line = explain(error)
    if line is None:
        return
    if sys.stderr is not None:
        import contextlib

        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
    sys.exit(_BAD_INPUT)
