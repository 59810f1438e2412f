"""`python -m services.executor`: see `waymark.serving.process`."""

from __future__ import annotations

from waymark.serving.process import run_service


def main() -> None:
    """Serve until asked to stop."""
    run_service("executor")


if __name__ == "__main__":
    main()
