"""Shared by all tests: the asynchronous backend, and the flags that switch on what needs more than this machine has."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compose", action="store_true", help="also run the container tests; needs a Docker engine")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
