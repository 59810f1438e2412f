"""Shared by all tests: the asynchronous backend, a Redis, and the flags that switch on what needs more than this
machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from services.env_runner.queue import JobStore

hypothesis.settings.register_profile("facts", deadline=None)  # no test here asserts a time
hypothesis.settings.load_profile("facts")


# What a shell starts in the background ignores Ctrl-C, what `nohup` starts ignores SIGHUP, and what either starts
# inherits it; the tests send both.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`./run test --soak --compose --browser --vllm --states 500`."""
    parser.addoption("--compose", action="store_true", help="also run the container tests; needs a Docker engine")
    parser.addoption("--browser", action="store_true", help="also run the tests in a browser; needs Chromium")
    parser.addoption("--vllm", action="store_true", help="also run the tests of vLLM itself; `./run test` installs it")
    parser.addoption("--soak", action="store_true", help="also run the tests that take many minutes")
    parser.addoption("--states", type=int, default=100, help="how many states the parity suite asks about")


@pytest.fixture
def anyio_backend() -> str:
    """The services run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of the module's own."""
    from waymark.cli.embedded_redis import EmbeddedRedis

    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def store(redis_url: str, request: pytest.FixtureRequest) -> Iterator[JobStore]:
    """The job store of an empty Redis. A module's LEASE_SECONDS says how long its leases last."""
    from services.env_runner.queue import JobStore

    store = JobStore(redis_url, lease_seconds=getattr(request.module, "LEASE_SECONDS", 30.0))
    store._redis.flushall()
    yield store
    store.close()
