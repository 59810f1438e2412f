"""What the fault tests break: a Redis, services and workers as processes; and what must hold after each fault."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from services.env_runner.queue import JobStore
from tests.samples import VERSIONS, evaluation
from waymark.child_processes.child_process import HOST, Part, wait_until_ready
from waymark.child_processes.readiness import is_ready
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.cli.local_stack import free_ports
from waymark.contracts import EpisodeResult, EpisodeSpec, EvaluationRequest, Limits, Versions
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import RunFolder

LEASE_SECONDS = 2.0
PATIENCE = 240.0
"""Seconds until a test gives up on what should come."""


class Services:
    """A controller and an executor without weights, which can be ended and started again where they were."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports()
        self.ports = {name: ports[name] for name in ("controller", "executor")}
        self._folder = folder
        self.parts: dict[str, Part] = {}

    def url(self, name: str) -> str:
        """Where a service listens."""
        return f"http://{HOST}:{self.ports[name]}"

    def start(self, *names: str, checkpoint: Path | None = None) -> None:
        """Start these and wait until they answer; without weights, or with those of a checkpoint."""
        engine = {"WAYMARK_ENGINE": "scripted"}
        if checkpoint is not None:
            engine = {"WAYMARK_CHECKPOINTS": f"default={checkpoint}", "WAYMARK_THREADS": "1"}
        for name in names:
            settings = {"WAYMARK_PORT": str(self.ports[name]), **engine}
            command = [sys.executable, "-m", f"services.{name}"]
            self.parts[name] = Part(name, command, own_environment(settings), self._folder / f"{name}.log")
        for name in names:
            wait_until_ready([self.parts[name]], lambda name=name: is_ready(self.url(name)), name)  # type: ignore[misc]

    def replace(self, name: str, *, checkpoint: Path) -> None:
        """Kill one and start it again where it was, with other weights."""
        self.parts[name].process.kill()
        self.parts[name].process.wait()
        self.start(name, checkpoint=checkpoint)

    def stop(self) -> None:
        """Stop all of them."""
        for part in self.parts.values():
            part.stop()


class Site:
    """Workers over a Redis of their own, and its job store."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.folder = folder
        self.redis = EmbeddedRedis(folder).start()
        self.store = JobStore(self.redis.url, lease_seconds=LEASE_SECONDS)
        self._services = services
        self._parts: list[Part] = []

    def worker(self, *, seconds: float, poison: Sequence[int] = (), slots: int = 2) -> Part:
        """A worker in the scripted world whose steps take so many seconds, and that poison kills."""
        poisoned = [",".join(map(str, poison))] if poison else []
        return self.part("worker", ["tests.integration.faulty_worker", str(seconds), *poisoned], {"SLOTS": str(slots)})

    def app(self, runs: Path) -> Part:
        """An env-runner's app that writes to `runs`."""
        return self.part("app", ["services.env_runner"], {"RUNS": str(runs), "PORT": str(free_ports()["env-runner"])})

    def part(self, name: str, module: Sequence[str], settings: Mapping[str, str]) -> Part:
        """A process of the env-runner; settings without their `WAYMARK_`."""
        all_settings = {
            "WAYMARK_REDIS_URL": self.redis.url,
            "WAYMARK_CONTROLLER_URL": self._services.url("controller"),
            "WAYMARK_EXECUTOR_URL": self._services.url("executor"),
            "WAYMARK_ENVIRONMENT": "scripted",
            "WAYMARK_LEASE_SECONDS": str(LEASE_SECONDS),
            **{f"WAYMARK_{key}": value for key, value in settings.items()},
        }
        log = self.folder / f"{name}-{len(self._parts)}.log"
        self._parts.append(Part(name, [sys.executable, "-m", *module], own_environment(all_settings), log))
        return self._parts[-1]

    def submit(
        self, name: str, count: int, *, turns: int = 6, task: str = "4-2", versions: Versions = VERSIONS
    ) -> list[EpisodeSpec]:
        """Submit an evaluation of so many variations of one task, each over after so many turns."""
        limits = Limits(moves=100, turns=turns)
        request = EvaluationRequest(tasks=(task,), variations=tuple(range(count)), limits=limits)
        specs = episodes(name, request)
        submitted = evaluation(name, request, episodes=len(specs)).model_copy(update={"versions": versions})
        self.store.submit(submitted, specs)
        return specs

    def finished(self, name: str) -> int:
        """How many of its episodes have a result."""
        return self.store.status(name).finished

    def finish(self, name: str, *alive: Part) -> None:
        """Wait for its last result, while these parts stay alive."""

        def finished() -> bool:
            for part in alive:
                part.check()
            return self.store.status(name).state == "finished"

        until(finished, f"{name} finishes")
        for part in alive:
            part.check()

    def assert_exact(
        self, name: str, specs: Sequence[EpisodeSpec], *, abandoned: Collection[int] = (), folder: Path | None = None
    ) -> None:
        """Every episode of the manifest has one result and one event, and the counters say so.

        Those variations that were `abandoned` are reported as errored and are dead letters; no others errored.
        `folder` holds the same as Redis.
        """
        store, ids = self.store, [spec.id for spec in specs]
        results = store.results(name)
        assert [result.id for result in results] == ids
        assert [spec.id for spec in store.specs(name)] == ids
        events = _events(store, name)
        assert sorted(event.id for event in events) == sorted(ids)
        assert {event.id: event for event in events} == {result.id: result for result in results}
        whole_results = [store.episode(name, episode) for episode in ids]
        assert [result.without_trajectory() for result in whole_results] == results
        assert all(len(result.trajectory) == result.turns for result in whole_results)
        errors = {result.variation: result.error.kind for result in results if result.error is not None}
        assert errors == dict.fromkeys(abandoned, "EpisodeAbandoned"), errors
        assert sorted(spec.variation for spec in store.dead() if spec.evaluation == name) == sorted(abandoned)
        status = store.status(name)
        assert (status.state, status.episodes, status.finished) == ("finished", len(ids), len(results))
        assert (status.errored, status.running) == (len(errors), 0)
        assert status.mean_score == sum(result.score for result in results) / len(results)
        assert store.reconcile() == 0
        assert store.lease("another", wait_seconds=0) is None
        if folder is not None:
            lines = [EpisodeResult.model_validate_json(line) for line in (folder / "episodes.jsonl").open()]
            assert sorted(result.id for result in lines) == sorted(ids)
            on_disk = {result.id: result for result in RunFolder(folder).results()}
            assert on_disk == {result.id: result for result in whole_results}

    def stop(self) -> None:
        """End all that was started."""
        for part in self._parts:
            part.process.kill()
            part.process.wait()
        self.store.close()
        self.redis.stop()


@contextmanager
def unreachable(server: EmbeddedRedis) -> Iterator[None]:
    """A Redis that runs on while nobody can reach it: its socket is moved away and its connections are cut."""
    socket = Path(server.url.removeprefix("unix://"))
    away = socket.with_suffix(".away")
    with redis.Redis.from_url(server.url) as client:
        client.ping()
        socket.rename(away)
        client.client_kill_filter(_type="normal", skipme=True)
    yield
    away.rename(socket)


def until(holds: Callable[[], bool], condition: str) -> None:
    """Wait until it holds; fail if it does not in the end."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {condition}"
        time.sleep(0.05)


def own_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WAYMARK_")} | dict(settings)


def _events(store: JobStore, name: str) -> list[EpisodeResult]:
    results: list[EpisodeResult] = []
    cursor = "0"
    while page := store.events({name: cursor}):
        results += [event.result for event in page]
        cursor = page[-1].cursor
    return results
