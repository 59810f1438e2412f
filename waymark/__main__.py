"""`python -m waymark` is `waymark`."""

from __future__ import annotations

from waymark.cli.entry import main

if __name__ == "__main__":
    main()
