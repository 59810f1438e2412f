"""However many follow an evaluation, it is looked at as often as for one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.env_runner.event_streams import live_events
from services.env_runner.progress_follower import FOLLOW_SECONDS
from services.env_runner.queue import Event
from services.env_runner.result_publisher import ResultPublisher
from services.env_runner.result_writer import ResultKeeper
from tests import samples
from waymark.contracts import EpisodeResult, EvaluationRequest, EvaluationStatus
from waymark.errors import JobStoreUnavailable, WaymarkError

pytestmark = pytest.mark.anyio


class Store:
    """One evaluation, whose results are committed one by one."""

    def __init__(self) -> None:
        self.committed: list[Event] = []
        self.looks = self.reads = 0
        self.ended = self.away = False

    def commit(self) -> None:
        number = len(self.committed) + 1
        self.committed.append(Event("e", f"{number}-0", samples.result(f"episode-{number}", evaluation="e")))

    def status(self, _: str) -> EvaluationStatus:
        self.looks += 1
        return EvaluationStatus(
            id="e",
            request=EvaluationRequest(),
            state="finished" if self.ended else "running",
            created="2026-01-01T00:00:00+00:00",
            episodes=30,
            finished=len(self.committed),
            errored=0,
            running=0,
        )

    def newest_event(self, _: str) -> str:
        return self.committed[-1].cursor if self.committed else "0-0"

    def events(self, cursors: dict[str, str]) -> list[Event]:
        self.reads += 1
        return self.committed[int(cursors["e"].split("-")[0]) :][:2]

    def ids(self) -> list[str]:
        if self.away:
            raise JobStoreUnavailable("Redis is away.")
        return []

    def entries(self, cursors: dict[str, str]) -> dict[str, list[Any] | WaymarkError]:
        return {}


async def follow(store: Any, publisher: ResultPublisher, cursor: str = "0") -> list[tuple[str, str]]:
    events = []
    async for event in live_events(store, publisher.follower.look, "e", cursor):
        data = str(event.data)
        events.append(
            (str(event.event), EpisodeResult.model_validate_json(data).id if event.event == "episode" else data)
        )
    return events


async def test_a_hundred_followers_cost_as_much_as_one(tmp_path: Path) -> None:
    store: Any = Store()
    publisher = ResultPublisher(store, ResultKeeper(store, tmp_path), reconcile_seconds=30)
    store.commit()
    following = [asyncio.create_task(follow(store, publisher)) for _ in range(100)]
    await asyncio.sleep(2 * FOLLOW_SECONDS)
    for _ in range(4):
        store.commit()
    await asyncio.sleep(6 * FOLLOW_SECONDS)
    store.ended = True
    heard = await asyncio.gather(*following)
    assert store.looks <= 40, "as often as for one, and not a hundred times that"
    assert store.reads <= 100 * 7, "events are read where there are new ones"
    episodes = [name for kind, name in heard[0] if kind == "episode"]
    assert episodes == [f"episode-{number}" for number in range(1, 6)]
    assert all(events == heard[0] for events in heard[1:])
    assert heard[0][-1][0] == "status"
    assert '"state":"finished"' in heard[0][-1][1]


async def test_a_late_follower_gets_the_events_it_missed(tmp_path: Path) -> None:
    store: Any = Store()
    publisher = ResultPublisher(store, ResultKeeper(store, tmp_path), reconcile_seconds=30)
    for _ in range(5):
        store.commit()
    store.ended = True
    assert [kind for kind, _ in await follow(store, publisher, "3-0")] == ["episode", "episode", "status"]
    assert [kind for kind, _ in await follow(store, publisher, "9")] == ["status"]


async def test_nothing_spins_while_redis_is_away(tmp_path: Path) -> None:
    store: Any = Store()
    keeper = ResultKeeper(store, tmp_path)
    publisher = ResultPublisher(store, keeper, reconcile_seconds=30)
    store.commit()
    store.ended = store.away = True
    keeper.behind.add("e")
    async with asyncio.timeout(10):
        assert [kind for kind, _ in await follow(store, publisher)] == ["episode", "status"]


async def test_a_submission_waits_for_no_other_evaluation(tmp_path: Path) -> None:
    store: Any = Store()
    publisher = ResultPublisher(store, ResultKeeper(store, tmp_path), reconcile_seconds=30)
    async with publisher._writing, asyncio.timeout(10):
        await publisher.prepare_new(samples.evaluation("new"))
        assert (tmp_path / "new").is_dir()
        await publisher.discard("new")
        assert not (tmp_path / "new").exists()
