"""Shares of a model: who is served next, and that nobody starves."""

from __future__ import annotations

from collections import Counter

from waymark.inference.batching.fairness import HEAVY_WEIGHT, Flow, Shares

A, B, HEAVY = Flow("a"), Flow("b"), Flow("a", heavy=True)


def served(shares: Shares, waiting: list[Flow], costs: dict[Flow, int], turns: int) -> Counter[Flow]:
    """The tokens that each flow got over so many turns, all of them waiting all the time."""
    got: Counter[Flow] = Counter()
    for _ in range(turns):
        flow = shares.next(waiting)
        shares.charge(flow, costs[flow])
        got[flow] += costs[flow]
    return got


def test_callers_get_equal_token_shares() -> None:
    got = served(Shares(), [A, B], {A: 1_000, B: 10}, 1_010)
    assert abs(got[A] - got[B]) <= 1_000


def test_heavy_callers_get_a_smaller_share_without_starving() -> None:
    got = served(Shares(), [A, HEAVY], {A: 100, HEAVY: 100}, 1_000)
    assert got[HEAVY] > 0
    assert abs(got[A] / got[HEAVY] - HEAVY_WEIGHT) < 0.1


def test_idle_callers_save_up_no_credit() -> None:
    shares = Shares()
    served(shares, [A], {A: 100}, 1_000)
    got = served(shares, [A, B], {A: 100, B: 100}, 100)
    assert got[A] >= 4_800


def test_a_pause_does_not_pay_off_a_debt() -> None:
    shares = Shares()
    shares.next([A, B])
    shares.charge(A, 10_000)
    assert [shares.next([B]), shares.next([A, B])] == [B, B]


def test_new_callers_start_without_credit() -> None:
    shares = Shares()
    for _ in range(10):
        shares.charge(shares.next([A]), 1_000)
    shares.charge(shares.next([HEAVY]), 1)
    assert shares.next([A, HEAVY]) == A


def test_callers_that_stopped_asking_are_forgotten() -> None:
    shares = Shares()
    for number in range(5_000):
        flow = Flow(str(number))
        shares.next([A, flow])
        shares.charge(flow, 10 + number)
    assert len(shares._served) < 1_100
