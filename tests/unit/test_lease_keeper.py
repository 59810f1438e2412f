"""The worker's renewal thread, over a store that fails as a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest

from services.env_runner.queue import JobStore, Lease
from services.env_runner.worker import LeaseKeeper
from waymark.contracts import EvaluationRequest
from waymark.errors import JobStoreUnavailable
from waymark.evaluation.requested_episodes import episodes


class FaultyStore:
    """Renews every lease, except for those of an entry that it was told to fail at."""

    def __init__(self, failing: str, error: BaseException) -> None:
        self.failing = failing
        self.error = error
        self.renewed: list[str] = []

    def renew(self, lease: Lease) -> bool:
        if lease.entry == self.failing:
            raise self.error
        self.renewed.append(lease.entry)
        return True

    def look(self) -> None:
        """See no lease."""


def leases() -> list[Lease]:
    specs = episodes("a", EvaluationRequest(tasks=("1-1", "4-1", "4-2")))
    return [Lease(f"{number}-0", "me", 1, spec) for number, spec in enumerate(specs)]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_that_cannot_be_renewed_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    store = FaultyStore("1-0", ValueError("something odd"))
    keeper = LeaseKeeper(cast(JobStore, store), period=0.01)
    for lease in leases():
        keeper.hold(lease)
    until(lambda: store.renewed.count("0-0") > 3 and store.renewed.count("2-0") > 3)
    keeper.check()
    keeper.close()
    assert sum("cannot be renewed" in record.message for record in caplog.records) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_renewal_thread_ends_the_worker() -> None:
    keeper = LeaseKeeper(cast(JobStore, FaultyStore("0-0", SystemExit())), period=0.01)
    keeper.check()
    keeper.hold(leases()[0])

    def dead() -> bool:
        try:
            keeper.check()
        except JobStoreUnavailable as error:
            return "has died" in str(error)
        return False

    until(dead)
