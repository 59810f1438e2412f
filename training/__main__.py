"""`python -m training`: its commands are in `training.cli`."""

from __future__ import annotations

import sys

from training.interruption import end_at_once, end_on_signals

_CANNOT_START = 3
_OWN = ("training", "waymark")


def _run() -> None:
    try:
        from training.cli import main, silence_libraries

        silence_libraries()
        main()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OWN:
            raise
        from waymark.command_hints import install, missing_packages

        missing = missing_packages("train") or [str(error.name)]
        sys.stderr.write(
            f"Training needs packages that are not installed: {', '.join(missing)}. Install them: {install('train')}\n"
        )
        sys.exit(_CANNOT_START)


if __name__ == "__main__":
    end_on_signals()  # before the other imports, which take a second
    try:
        _run()
    finally:
        end_at_once()
