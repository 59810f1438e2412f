"""Real parts that several tests share."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import Command
from tests.integration.faults import Services, Site
from waymark.child_processes.child_process import HOST, Part
from waymark.cli.local_stack import Stack, StackOptions, free_ports
from waymark.clients.services import SyncControllerClient
from waymark.worlds.scienceworld.environment import ScienceWorldSlot

if TYPE_CHECKING:
    from tests.faulty_annotator import FaultyAnnotator


@pytest.fixture(scope="module")
def slot() -> Iterator[ScienceWorldSlot]:
    """One JVM for all tests of the module."""
    opened = ScienceWorldSlot()
    yield opened
    opened.close()


@pytest.fixture
def waymark(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Starts `waymark` with some arguments; ends it with all of its parts should the test fail."""
    started: list[Command] = []

    def start(*arguments: str, settings: Mapping[str, str] | None = None) -> Command:
        started.append(Command(tmp_path, *arguments, settings=settings))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.communicate()
        for process in command.parts():
            os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services as processes, on the scripted engine and world."""
    options = StackOptions(runs=tmp_path_factory.mktemp("stack"), engine="scripted", environment="scripted", slots=1)
    with Stack(options) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a controller on the scripted engine that asks for a key, and one of its keys."""
    key = "secret"
    port = str(free_ports()["controller"])
    settings = {"WAYMARK_PORT": port, "WAYMARK_ENGINE": "scripted", "WAYMARK_API_KEYS": f"other,{key}"}
    command = [sys.executable, "-m", "services.controller"]
    part = Part("controller", command, {**os.environ, **settings}, tmp_path_factory.mktemp("guarded") / "log")
    url = f"http://{HOST}:{port}"
    with SyncControllerClient(url) as client:
        while not client.ready():
            part.check()
            time.sleep(0.05)
    yield url, key
    part.stop()


@pytest.fixture
def site(tmp_path: Path, services: Services) -> Iterator[Site]:
    """Workers over a Redis of their own; the module says which services they ask."""
    site = Site(tmp_path, services)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model and a recipe for `training reproduce`, too small to learn anything."""
    from tests.reproduction import make_folder

    return make_folder(tmp_path_factory.mktemp("reproduce"))


@pytest.fixture
def annotator() -> Iterator[FaultyAnnotator]:
    """An endpoint that names sub-goals, sometimes wrongly."""
    from tests.faulty_annotator import FaultyAnnotator

    with FaultyAnnotator() as server:
        yield server
