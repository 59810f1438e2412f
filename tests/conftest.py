"""Fixtures that more than one layer of tests uses."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The services run on asyncio."""
    return "asyncio"
