"""`python -m waymark` is `waymark`."""

from __future__ import annotations

import signal
import sys

from waymark.cli.interrupts import interrupt

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)  # before the other imports, which take a second
    try:
        from waymark.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
