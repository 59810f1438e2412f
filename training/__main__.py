"""`python -m training`: its commands are in `training.cli`."""

from __future__ import annotations

from training.interruption import end_at_once, end_on_signals

if __name__ == "__main__":
    end_on_signals()  # before the other imports, which take a second
    from training.cli import main, silence_libraries

    silence_libraries()
    try:
        main()
    finally:
        end_at_once()
