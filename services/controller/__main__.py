"""`python -m services.controller`: see `waymark.serving.process`."""

from __future__ import annotations

from waymark.serving.process import run_service


def main() -> None:
    """Serve until asked to stop."""
    run_service("controller")


if __name__ == "__main__":
    main()
