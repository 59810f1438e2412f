from __future__ import annotations

import anyio
import pytest

from waymark.contracts.health import TaskHealth
from waymark.serving.background_tasks import Beat, Supervisor

pytestmark = pytest.mark.anyio


async def until_state(supervisor: Supervisor, state: str) -> TaskHealth:
    with anyio.fail_after(10):
        while True:
            [report] = supervisor.report()
            if report.state == state:
                return report
            await anyio.sleep(0.01)


async def test_a_task_that_dies_is_logged_once_and_restarted(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(first_pause=0.01)
    begun: list[int] = []

    async def task(beat: Beat) -> None:
        begun.append(1)
        if len(begun) < 4:
            raise ValueError("no luck")
        beat()
        await supervisor.stopping.wait()

    supervisor.add("writer", task)
    supervisor.start()
    failed = await until_state(supervisor, "failed")
    assert "no luck" in failed.problem
    working = await until_state(supervisor, "running")
    await supervisor.stop()
    assert working.problem == ""
    assert len(begun) == 4
    deaths = [record for record in caplog.records if "died" in record.message]
    assert len(deaths) == 1
    assert deaths[0].exc_info


async def test_a_task_that_ends_by_itself_has_died() -> None:
    supervisor = Supervisor(first_pause=0.01)

    async def task(beat: Beat) -> None:
        return

    supervisor.add("writer", task)
    supervisor.start()
    assert "ended by itself" in (await until_state(supervisor, "failed")).problem
    await supervisor.stop()


async def test_a_task_without_progress_is_stalled() -> None:
    now = [0.0]
    supervisor = Supervisor(stall_seconds=60, clock=lambda: now[0])

    async def task(beat: Beat) -> None:
        beat()
        await supervisor.stopping.wait()

    supervisor.add("writer", task)
    supervisor.start()
    await until_state(supervisor, "running")
    now[0] = 61
    stalled = await until_state(supervisor, "stalled")
    await supervisor.stop()
    assert stalled.since.startswith("20")


async def test_one_dead_task_leaves_others_alone() -> None:
    supervisor = Supervisor(first_pause=10)
    rounds: list[int] = []

    async def dead(beat: Beat) -> None:
        raise RuntimeError("dead")

    async def alive(beat: Beat) -> None:
        while not supervisor.stopping.is_set():
            rounds.append(1)
            beat()
            await supervisor.sleep(0.01)

    supervisor.add("dead", dead)
    supervisor.add("alive", alive)
    supervisor.start()
    with anyio.fail_after(10):
        while len(rounds) < 5:  # noqa: ASYNC110 - the rounds are what is waited for
            await anyio.sleep(0.01)
    assert {task.name: task.state for task in supervisor.report()} == {"dead": "failed", "alive": "running"}
    with anyio.fail_after(5):
        await supervisor.stop()
