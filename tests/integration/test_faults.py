"""Evaluations lose nothing and count everything once, whatever dies: real processes, each fault once at small size.

An outage of Redis takes OUTAGE_SECONDS here; `WAYMARK_TEST_OUTAGE_SECONDS=60` makes it a minute.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from services.env_runner.environments import environment_version
from tests.integration.faults import LEASE_SECONDS, Services, Site, unreachable, until
from tests.integration.faulty_worker import STEPPING
from tests.samples import VERSIONS
from waymark.cli.embedded_redis import EmbeddedRedis
from waymark.operating_system.process_tree import children

TURNS_TO_A_STEP = 3
"""The scripted executor ends two sub-goals before it acts."""
OUTAGE_SECONDS = float(os.environ.get("WAYMARK_TEST_OUTAGE_SECONDS", 2.5 * LEASE_SECONDS))
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are told apart by /proc")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = Services(tmp_path_factory.mktemp("services"))
    services.start("controller", "executor")
    yield services
    services.stop()


def test_a_killed_workers_episodes_are_played_by_another(site: Site) -> None:
    specs = site.submit("killed", 30)
    doomed = site.worker(seconds=0.05)
    until(lambda: site.finished("killed") >= 4 and site.store.status("killed").running == 2, "both slots play")
    doomed.process.kill()
    site.finish("killed", site.worker(seconds=0))
    site.assert_exact("killed", specs)


@contextmanager
def killed(redis: EmbeddedRedis) -> Iterator[None]:
    redis.part.process.kill()
    redis.part.process.wait()
    yield
    redis.start()


@pytest.mark.parametrize("gone", [killed, unreachable])
def test_results_survive_a_redis_outage_longer_than_a_lease(
    site: Site, gone: Callable[[EmbeddedRedis], AbstractContextManager[None]]
) -> None:
    specs = site.submit("gone", 60)
    workers = [site.worker(seconds=0.05), site.worker(seconds=0.05)]
    until(lambda: site.finished("gone") >= 4 and site.store.status("gone").running == 4, "both workers play")
    with gone(site.redis):
        time.sleep(OUTAGE_SECONDS)
    assert site.finished("gone") < len(specs)
    site.finish("gone", *workers)
    site.assert_exact("gone", specs)


def test_a_worker_frozen_past_its_lease_cannot_commit(site: Site) -> None:
    specs = site.submit("frozen", 4, turns=TURNS_TO_A_STEP)
    frozen = site.worker(seconds=3, slots=1)
    until(lambda: STEPPING in frozen.log.read_text(), "it takes the last step of an episode")
    frozen.process.send_signal(signal.SIGSTOP)
    other = site.worker(seconds=0, slots=1)
    site.finish("frozen", other)
    before = site.store.results("frozen")
    frozen.process.send_signal(signal.SIGCONT)
    until(lambda: "was dropped" in frozen.log.read_text(), "it is refused")
    assert site.store.results("frozen") == before
    site.assert_exact("frozen", specs)
    frozen.check()


def test_results_survive_a_restart_of_the_executor(site: Site, services: Services) -> None:
    specs = site.submit("executor", 30)
    worker = site.worker(seconds=0.05)
    until(lambda: site.finished("executor") >= 4, "play is under way")
    services.parts["executor"].process.kill()
    services.parts["executor"].process.wait()
    services.start("executor")
    site.finish("executor", worker)
    site.assert_exact("executor", specs)


def test_killed_and_hanging_jvms_are_replaced(site: Site) -> None:
    versions = VERSIONS.model_copy(update={"environment": environment_version("scienceworld")})
    specs = site.submit("jvm", 2, turns=60, task="7-2", versions=versions)
    settings = {"ENVIRONMENT": "scienceworld", "SLOTS": "1", "SIMULATOR_TIMEOUT_SECONDS": "10", "LEASE_SECONDS": "30"}
    worker = site.part("worker", ["services.env_runner", "worker"], settings)
    until(lambda: site.store.status("jvm").running == 1, "it plays")
    first = _jvm(worker.process.pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: site.finished("jvm") == 1, "the first episode is played in another JVM")
    second = _jvm(worker.process.pid)
    assert second != first
    os.kill(second, signal.SIGSTOP)
    site.finish("jvm", worker)
    assert _jvm(worker.process.pid) not in {first, second}
    site.assert_exact("jvm", specs)


def _jvm(worker: int) -> int:
    """The process id of the JVM that a worker has started, from whichever thread."""
    processes: list[int] = []

    def has_started() -> bool:
        processes[:] = [pid for pid in children(worker) if Path(f"/proc/{pid}/comm").read_text() == "java\n"]
        return len(processes) == 1

    until(has_started, "the worker has a JVM")
    return processes[0]


def test_results_are_written_once_a_full_disk_has_room(site: Site) -> None:
    specs = site.submit("full", 20)
    runs = site.folder / "runs"
    app = site.app(runs)
    resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    site.worker(seconds=0)
    site.finish("full", app)
    until(lambda: "wait to be written" in app.log.read_text(), "the disk is full")
    assert (runs / "full" / "episodes.jsonl").stat().st_size <= 30_000
    resource.prlimit(app.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: (runs / "full" / "episodes.jsonl").read_text().count("\n") == len(specs), "all is written")
    site.assert_exact("full", specs, folder=runs / "full")
    app.check()


def test_an_evaluation_submitted_twice_at_once_is_played_once(site: Site) -> None:
    worker = site.worker(seconds=0)
    both = threading.Barrier(2)

    def submit() -> None:
        both.wait()
        site.submit("twice", 40)

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: site.finished("twice") > 0, "play is under way")
    specs = site.submit("twice", 40)
    site.finish("twice", worker)
    assert site.submit("twice", 40) == specs
    site.assert_exact("twice", specs)


def test_poison_episodes_are_given_up_and_all_others_played(site: Site) -> None:
    poison = (3, 77, 150)
    specs = site.submit("poison", 200, turns=TURNS_TO_A_STEP)
    supervisors = [site.worker(seconds=0, poison=poison) for _ in range(2)]
    site.finish("poison", *supervisors)
    site.assert_exact("poison", specs, abandoned=poison)
