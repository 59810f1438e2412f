"""Every key in Redis damaged in every way: one evaluation suffers, or the interface says 503; nothing else stops.

A real Redis, the env-runner's app, a worker with a host of play along, and both services.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.env_runner.app import create_app
from services.env_runner.play_along_host import PlayHost
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.queue.play_along import PlayQueue
from services.env_runner.settings import Settings
from services.env_runner.worker import Worker
from tests.queued import on_disk
from tests.samples import evaluation, result_of
from tests.serving import scripted_services
from waymark.contracts import EvaluationRequest, Limits
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio
LEASE_SECONDS = 1.0
SECONDS = 120.0
NUMBER = "9" * 5_000
DEEP = "[" * 50_000
GARBAGE = ("", "x", "0.5", "null", '{"versions": 3}', NUMBER, DEEP)
FIELDS = ("evaluation", "shared", "cancelled", "finished", "errored", "score_sum")
HASHES = ("specs", "results", "trajectories", "renewals")
LISTS = ("manifest", "released")
STREAMS = ("queue", "events")
TYPES: dict[str, Callable[[Any, str], object]] = {
    "string": lambda redis, key: redis.set(key, "x"),
    "hash": lambda redis, key: redis.hset(key, "x", "y"),
    "list": lambda redis, key: redis.rpush(key, "x"),
    "stream": lambda redis, key: redis.xadd(key, {"x": "y"}),
}
Damage = Callable[[Any, str], object]


def put(redis: Any, key: str, *, value: str) -> None:
    redis.set(key, value)


def retyped(part: str, kind: str) -> Damage:
    def damage(redis: Any, evaluation_id: str) -> None:
        key = f"waymark:evaluation:{evaluation_id}{part}"
        redis.delete(key)
        TYPES[kind](redis, key)

    return damage


def field_of(part: str, value: str, field: str | None) -> Damage:
    """Every field of a hash, or the named one, holds `value`."""

    def damage(redis: Any, evaluation_id: str) -> None:
        key = f"waymark:evaluation:{evaluation_id}{part}"
        for name in [field] if field else [*redis.hkeys(key), "0-1"]:
            redis.hset(key, name, value)

    return damage


def renewals_of_leases(value: str) -> Damage:
    """The renewals of every entry that is or may be leased hold `value`."""

    def damage(redis: Any, evaluation_id: str) -> None:
        key = f"waymark:evaluation:{evaluation_id}"
        for entry, _ in redis.xrange(f"{key}:queue"):
            redis.hset(f"{key}:renewals", entry, value)

    return damage


def added(part: str, value: str) -> Damage:
    """A list holds `value` besides, a stream an entry of it."""

    def damage(redis: Any, evaluation_id: str) -> None:
        key = f"waymark:evaluation:{evaluation_id}{part}"
        if part.removeprefix(":") in STREAMS:
            redis.xadd(key, {"x": value, "y": "z"})
            redis.xadd(key, {"result": value, "episode": value})
        else:
            redis.lpush(key, value)

    return damage


def waiting(value: str) -> Damage:
    """The report of a worker that waits is `value`."""
    return lambda redis, name: put(redis, f"waymark:evaluation:{name}:waiting", value=value)


def every_damage() -> dict[str, Damage]:
    parts = ["", *(f":{name}" for name in (*HASHES, *LISTS, *STREAMS, "waiting"))]
    damages = {f"{part or 'hash'} is a {kind}": retyped(part, kind) for part in parts for kind in TYPES}
    for value in GARBAGE:
        shown = f"{value[:8]!r} of {len(value)}"
        damages |= {f"{field} is {shown}": field_of("", value, field) for field in FIELDS}
        damages |= {f":{name} hold {shown}": field_of(f":{name}", value, None) for name in HASHES}
        damages |= {f":{name} holds {shown}": added(f":{name}", value) for name in (*LISTS, *STREAMS)}
        damages[f"renewals of leases are {shown}"] = renewals_of_leases(value)
        damages[f"waiting is {shown}"] = waiting(value)
    return damages


@dataclass
class Site:
    """All that runs, and a client of it."""

    http: httpx.AsyncClient
    store: JobStore
    working: asyncio.Task[None]
    runs: Path

    async def until_finished(self, name: str) -> None:
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            assert not self.working.done(), self.working
            with suppress(Exception):
                if self.store.status(name).state == "finished" and on_disk(self.runs, name):
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{name} was not finished: {(await self.http.get('/health/ready')).text}")


@asynccontextmanager
async def running(store: JobStore, redis_url: str, runs: Path) -> AsyncIterator[Site]:
    queue = PlayQueue(redis_url)
    provenance = Provenance("scripted", "abc")
    settings = Settings(environment="scripted", runs=runs, lease_seconds=LEASE_SECONDS, play_sessions=2)
    async with scripted_services() as services:
        app = create_app(settings, store, *services, provenance, queue)
        host = PlayHost(queue, store, *services, ScriptedEnvironment, provenance)
        worker = Worker(
            JobStore(redis_url, lease_seconds=LEASE_SECONDS),
            *services,
            ScriptedEnvironment,
            provenance,
            slots=2,
            lease_seconds=LEASE_SECONDS,
            redis_wait_seconds=3.0,
            play_host=host,
        )
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                base_url="http://localhost", transport=httpx.ASGITransport(app, raise_app_exceptions=False), timeout=30
            ) as http,
        ):
            working = asyncio.create_task(worker.run())
            try:
                yield Site(http, store, working, runs)
            finally:
                worker.stop()
                await asyncio.wait([working], timeout=20)
                queue.close()


def submit(store: JobStore, name: str, tasks: tuple[str, ...] = ("4-2", "1-1", "7-1")) -> None:
    request = EvaluationRequest(tasks=tasks, limits=Limits(moves=3, turns=3))
    specs = episodes(name, request)
    store.submit(evaluation(name, request, episodes=len(specs)), specs)


async def answers_of(http: httpx.AsyncClient, name: str) -> dict[str, int]:
    """The status codes of every route that reads or changes an evaluation."""
    base = f"/v1/evaluations/{name}"
    paths = ["", "/summary", "/episodes", "/export"]
    codes = {path: (await http.get(base + path)).status_code for path in paths}
    codes["/resume"] = (await http.post(f"{base}/resume", params={"errored": True})).status_code
    codes["/cancel"] = (await http.post(f"{base}/cancel")).status_code
    return codes


async def test_damage_of_one_evaluation_stops_no_other(store: JobStore, redis_url: str, tmp_path: Path) -> None:
    damages = every_damage()
    names = {f"damaged-{number}": label for number, label in enumerate(damages)}
    for name in names:
        submit(store, name)
        lease = store.lease("earlier", wait_seconds=0)  # one result, one abandoned lease, one that waits
        assert lease is not None
        store.commit(lease, result_of(lease.spec))
        assert store.lease("earlier", wait_seconds=0) is not None
    for name, damage in zip(names, damages.values(), strict=True):
        damage(store._redis, name)
    async with running(store, redis_url, tmp_path) as site:
        submit(store, "sound", ("4-2",))
        await site.until_finished("sound")
        wrong = {
            f"{names[name]} {path}": code
            for name in names
            for path, code in (await answers_of(site.http, name)).items()
            if code >= 500 and code not in (503, 504, 507)
        }
        for path in ("/v1/evaluations", "/v1/runs", "/metrics", "/v1/evaluations/sound/results"):
            assert (await site.http.get(path)).status_code == 200, path
        ready = await site.http.get("/health/ready")
        assert ready.status_code == 200, ready.text
        submit(store, "afterwards", ("4-2",))
        await site.until_finished("afterwards")
    assert wrong == {}
    assert site.working.exception() is None


SHARED = ("evaluations", "submissions", "active", "dead", "protocol", "play:open", "play:waiting")


async def test_damage_of_a_shared_key_is_told_until_repaired(store: JobStore, redis_url: str, tmp_path: Path) -> None:
    redis = store._redis
    async with running(store, redis_url, tmp_path) as site:
        for key in (f"waymark:{name}" for name in SHARED):
            damages: list[Damage] = [*TYPES.values(), *(partial(put, value=value) for value in (NUMBER, "1 y"))]
            for damage in damages:
                if redis.exists(key):
                    redis.rename(key, "kept")
                damage(redis, key)
                answers = [
                    await site.http.post("/v1/evaluations", json={"tasks": ["4-2"]}, headers={"Idempotency-Key": "k"}),
                    await site.http.get("/v1/evaluations"),
                    await site.http.get("/health/ready"),
                    await site.http.get("/metrics"),
                    await site.http.post("/v1/play", json={"task": "4-2", "variation": 0}),
                ]
                wrong = [answer.text for answer in answers if answer.status_code >= 500 and answer.status_code != 503]
                assert wrong == []
                assert (await site.http.get("/health/live")).status_code == 200
                redis.delete(key)
                if redis.exists("kept"):
                    redis.rename("kept", key)
        redis.delete("waymark:play:open", "waymark:play:waiting")
        submit(store, "afterwards", ("4-2",))
        await site.until_finished("afterwards")
        session = (await site.http.post("/v1/play", json={"task": "4-2", "variation": 0})).json()["id"]
        began = time.monotonic()
        while (state := (await site.http.get(f"/v1/play/{session}")).json()["state"]) != "ready":
            assert state != "ended"
            assert time.monotonic() < began + SECONDS
            await asyncio.sleep(0.05)
    assert site.working.exception() is None
