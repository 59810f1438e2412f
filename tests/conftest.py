"""Shared by all tests: the asynchronous backend, and the flags that switch on what needs more than this machine has."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`./run test --compose`."""
    parser.addoption("--compose", action="store_true", help="also run the container tests; needs a Docker engine")


@pytest.fixture
def anyio_backend() -> str:
    """The services run on asyncio."""
    return "asyncio"
