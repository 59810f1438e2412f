"""Very many leases at once: workers look at them less often, and still find the silent ones. On a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.env_runner.queue import JobStore
from tests.samples import evaluation
from waymark.contracts import EvaluationRequest
from waymark.evaluation.requested_episodes import episodes

LEASE_SECONDS = 20.0
MANY = 1_000
FEW = 100


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingStore(JobStore):
    """Counts how often it asks Redis for all leases."""

    asked = 0

    def look(self) -> None:
        before = self._looked
        super().look()
        self.asked += self._looked != before


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(redis_url: str, clock: Clock) -> Iterator[CountingStore]:
    store = CountingStore(redis_url, lease_seconds=LEASE_SECONDS, clock=clock)
    store._redis.flushdb()
    yield store
    store.close()


def lease_all(store: JobStore, count: int) -> None:
    request = EvaluationRequest(tasks=("4-2",))
    first = episodes("many", request)[0]
    specs = [first.model_copy(update={"id": f"{first.id}-{seed}", "seed": seed}) for seed in range(count)]
    store.submit(evaluation("many", request, episodes=count), specs)
    for _ in specs:
        assert store.lease("gone", wait_seconds=0) is not None


def looks_in_a_lease(store: CountingStore, clock: Clock) -> int:
    """How often a slot that asks four times a second, and the thread that renews, look within one lease."""
    store.look()
    store.asked = 0
    for _ in range(int(4 * LEASE_SECONDS)):
        clock.now += 0.25
        store.lease("idle", wait_seconds=0)
        store.look()
    return store.asked


@pytest.mark.parametrize(("leases", "least", "most"), [(FEW, 20, 1000), (MANY, 3, 5)])
def test_with_many_leases_each_worker_looks_less_often(
    store: CountingStore, clock: Clock, leases: int, least: int, most: int
) -> None:
    lease_all(store, leases)
    clock.now += 1
    assert least <= looks_in_a_lease(store, clock) <= most


@pytest.mark.parametrize("leases", [FEW, MANY])
def test_a_silent_lease_is_found_within_1_25_lease_times(store: CountingStore, clock: Clock, leases: int) -> None:
    lease_all(store, leases)
    while store.lease("heir", wait_seconds=0) is None:
        clock.now += 0.25
        assert clock.now <= 1.25 * LEASE_SECONDS + 0.5
    assert clock.now >= LEASE_SECONDS
