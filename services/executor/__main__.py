"""`python -m services.executor`: see `waymark.serving.model_service`."""

from __future__ import annotations

from waymark.serving.model_service import run_service


def main() -> None:
    """Serve until asked to stop."""
    run_service("executor")


if __name__ == "__main__":
    main()
