"""Real parts that several tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import Command
from waymark.stack import EmbeddedRedis


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of the module's own."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


@pytest.fixture
def waymark(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts `waymark` with some arguments; ends it with all of its parts should the test fail."""
    started: list[Command] = []

    def start(*arguments: str) -> Command:
        started.append(Command(tmp_path, *arguments))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.communicate()
        for process in command.parts():
            os.kill(process, signal.SIGKILL)
