"""The local stack: an embedded Redis, both model services, the env-runner and a worker, as real processes.

The only place that spawns services. Everything listens on loopback, Redis on a Unix socket. Leaving the
context stops it all in order, so that what is finished gets written first; should this process be killed
outright, the kernel ends its children (Linux), and each JVM ends with its worker.

A stack keeps its logs and Redis' data in a folder of its own under the runs folder.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal, Self

from waymark.child_processes.child_process import HOST, START_SECONDS, Part, wait_until_ready
from waymark.child_processes.python_process import python_command, python_environment
from waymark.child_processes.readiness import Readiness
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.redis_server import check_named_redis, find_redis_server
from waymark.command_hints import COMMAND, command, command_name
from waymark.errors import InvalidInput, PortInUse, StorageUnavailable
from waymark.evaluation.run_folder import LOGS
from waymark.evaluation.writable_folders import NO_FOLDER, check_writable
from waymark.operating_system.cpu_cores import available_cores, simulators_at_once
from waymark.worlds.registry import get_world

VLLM_START_SECONDS = 1_200.0
"""The same for services on vLLM, which takes minutes for each checkpoint."""

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
"""The checkpoints that ship."""
Service = Literal["controller", "executor", "env-runner"]
PORTS: dict[Service, int] = {"controller": 8001, "executor": 8002, "env-runner": 8000}
"""Where `waymark up` listens, unless told otherwise."""


def shipped_checkpoints(environment: str) -> Path:
    """The folder of the checkpoints that ship for a world. Raises InvalidInput for an unknown one."""
    return CHECKPOINTS / get_world(environment).checkpoints


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What stack to start."""

    runs: Path
    checkpoints: Path = CHECKPOINTS
    """Folder with `controller/` and `executor/`; if they are there, also `first/` (names an episode's first sub-goal)
    and `flat/` (the flat agent) are loaded."""
    engine: str = "ctranslate2"
    environment: str = "scienceworld"
    slots: int | None = None
    """Episodes played at once; None: as the cores allow; 0: no worker, others play."""
    ports: Mapping[Service, int] | None = None
    """None: any free ones."""


class Stack:
    """The running stack, as a context. Entering waits until all is ready and raises StackError or PortInUse.

    Start it from the main thread: its children end with the thread that started them.
    """

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._folder = options.runs / f"stack-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        self.logs = self._folder / LOGS
        self._redis: EmbeddedRedis | None = None
        self._parts: list[Part] = []
        self._ports: dict[Service, int] = {}
        self._began = False
        self.unwritten = False
        """Whether, after the end, results may be missing on disk that Redis holds."""
        self.kept: Path | None = None
        """The data of the embedded Redis, kept for `waymark recover` because of that."""

    @property
    def folder(self) -> Path:
        """Its own folder, under that of all runs."""
        return self._folder

    @property
    def runs(self) -> Path:
        """Where results belong."""
        return self._options.runs

    def url(self, service: Service) -> str:
        """Where a service listens."""
        return f"http://{HOST}:{self._ports[service]}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by part."""
        return {part.name: part.process.pid for part in self._parts}

    def check(self) -> None:
        """Raise StackError if any part has died."""
        for part in self._parts:
            part.check()

    def keep_logs(self, folder: Path) -> None:
        """Move the logs, open as they are, into the folder of the run that they belong to, beside those it has."""
        names = (LOGS if number == 1 else f"{LOGS}-{number}" for number in itertools.count(1))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.logs = self.logs.rename(next(place for name in names if not (place := folder / name).exists()))
        except OSError:  # the folder cannot be written; the env-runner reports that, and the logs stay here
            return
        for part in self._parts:
            part.log = self.logs / part.log.name

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        options = self._options
        check_options(options)
        self._ports = _claim(options.ports) if options.ports else free_ports()
        self.logs.mkdir(parents=True)
        settings = {
            **python_environment(),
            COMMAND: command_name(),
            "WAYMARK_HOST": HOST,
            "WAYMARK_ENGINE": options.engine,
            "WAYMARK_ENVIRONMENT": options.environment,
            "WAYMARK_RUNS": str(options.runs.resolve()),
            "WAYMARK_SLOTS": str(options.slots or simulators_at_once()),
            "WAYMARK_THREADS": str(max(1, available_cores() // 2)),
            "WAYMARK_CONTROLLER_URL": self.url("controller"),
            "WAYMARK_EXECUTOR_URL": self.url("executor"),
            **self._start_redis(),
        }
        self._spawn("controller", python_command("services.controller"), settings | self._served("controller"))
        self._spawn("executor", python_command("services.executor"), settings | self._served("executor"))
        self._spawn("env-runner", python_command("services.env_runner"), settings | self._served("env-runner"))
        if options.slots != 0:
            self._spawn("worker", python_command("services.env_runner", "worker"), settings)
        seconds = VLLM_START_SECONDS if options.engine == "vllm" else START_SECONDS
        for service in PORTS:
            wait_until_ready(self._parts, Readiness(self.url(service)), service, seconds=seconds)
        self._began = True

    def _start_redis(self) -> Mapping[str, str]:
        """The settings of the Redis to use: the one that the user names, else one of our own, without a password."""
        if os.environ.get("WAYMARK_REDIS_URL"):
            return {}
        data = self._folder / "redis"
        data.mkdir()
        self._redis = EmbeddedRedis(data, self.logs / "redis.log")
        self._parts.append(self._redis.start().part)
        return {"WAYMARK_REDIS_URL": self._redis.url, "WAYMARK_REDIS_PASSWORD": "", "WAYMARK_REDIS_PASSWORD_FILE": ""}

    def _served(self, service: Service) -> dict[str, str]:
        """The settings of one service: where it listens and the checkpoints that it loads."""
        options = self._options
        served = _served_folders(service, options.checkpoints, scripted=options.engine == "scripted")
        folders = {name: options.checkpoints / folder for name, folder in served.items()}
        checkpoints = {name: str(folder.resolve()) for name, folder in folders.items()}
        return {
            "WAYMARK_PORT": str(self._ports[service]),
            "WAYMARK_CHECKPOINTS": json.dumps(checkpoints) if checkpoints else "",
        }

    def _spawn(self, name: str, command: Sequence[str], settings: Mapping[str, str]) -> None:
        self._parts.append(Part(name, command, settings, self.logs / f"{name}.log"))

    def _stop(self) -> None:
        """Stop all, the last started first. A second Ctrl-C does not cut this short."""
        with _undisturbed():
            redis = None if self._redis is None else getattr(self._redis, "part", None)
            for part in reversed(self._parts):
                if part is not redis:
                    part.stop()
            self.unwritten = self._began and any(
                part.name == "env-runner" and part.process.returncode for part in self._parts
            )
            if self._redis is not None:
                self.kept = self._redis.keep_data() if self.unwritten else None
                self._redis.stop()
            self._parts.clear()
            if self.kept != self._folder / "redis":
                shutil.rmtree(self._folder / "redis", ignore_errors=True)
            with suppress(OSError):  # it holds the logs, unless they were moved to a run
                self._folder.rmdir()


def check_options(options: StackOptions) -> None:
    """Raise what keeps a stack from starting: no Java, no Redis, a runs folder that takes nothing, ports in use."""
    get_world(options.environment).check_runnable()
    if os.environ.get("WAYMARK_REDIS_URL"):
        check_named_redis()
    else:
        find_redis_server()
    if options.ports:
        _claim(options.ports)
    _check_runs(options.runs)


def _served_folders(service: Service, checkpoints: Path, *, scripted: bool) -> dict[str, str]:
    """Name of each checkpoint that a service loads, to its folder. `first` and `flat` are loaded if they are there; the
    scripted engine has no folders, and plays `flat` too."""
    needed = {"controller": {"default": "controller"}, "executor": {"default": "executor"}}.get(service, {})
    there = {"controller": ("first",), "executor": ("flat",)}.get(service, ())
    return needed | {name: name for name in there if (checkpoints / name).exists() or (scripted and name == "flat")}


class _undisturbed:  # noqa: N801 - reads as a statement
    """Ignore signals that ask for an end while the end is being made."""

    _signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> None:
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, signal.SIG_IGN) for number in self._signals}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def free_ports() -> dict[Service, int]:
    """A port for each service that nothing listens on now."""
    sockets = {service: socket.create_server((HOST, 0)) for service in PORTS}
    ports = {service: server.getsockname()[1] for service, server in sockets.items()}
    for server in sockets.values():
        server.close()
    return ports


def _claim(ports: Mapping[Service, int]) -> dict[Service, int]:
    """The ports themselves, if all are free and differ; else PortInUse, InvalidInput."""
    for service, port in ports.items():
        others = [other for other, taken in ports.items() if taken == port and other != service]
        if others:
            raise InvalidInput(
                f"The {others[0]} and the {service} cannot share port {port}.",
                remedy=f"Choose another port for one of them: {command('up', '--help')}",
                field="port",
            )
    for service, port in ports.items():
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise PortInUse(
                f"Port {port}, which the {service} needs, is in use.",
                remedy=f"End the process that listens there, or choose other ports: {command('up', '--help')}",
            ) from error
    return dict(ports)


def _check_runs(runs: Path) -> None:
    """Raise InvalidInput where `runs` can be no folder, StorageUnavailable where nothing can be written there."""
    try:
        check_writable(runs)
    except StorageUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_FOLDER:
            raise InvalidInput(error.message, remedy=error.remedy, field="runs") from error
        raise
