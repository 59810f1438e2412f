"""Figures that the parity suite records: they close its output, whatever passed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line for the end of the output."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was recorded."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"parity: {line}")
