"""How the soak tells what a service did from what was done to it."""

from __future__ import annotations

import pytest

from benchmarks.services import Service
from benchmarks.soak import Mark, Watch, report_overload
from waymark.loadtest.drive import Load, Outcome, Samples
from waymark.loadtest.results import stage

PEAK = 100
"""Answers a second."""
DISTURBED = range(5, 8)
"""Seconds in which others take a core, half of the answers come too late, and refusals too."""


def samples() -> Samples:
    """Ten seconds at twice the peak, every other request refused."""
    made = Samples(began=1_000.0, window=10.0)
    for number in range(2 * PEAK * 10):
        due = made.began + number / (2 * PEAK)
        slow = int(due - made.began) in DISTURBED and number % 4 < 2
        outcome: Outcome = 429 if number % 2 else 200
        ended = due + (1.5 if slow else 0.01)
        made.add(number, due, due + (0.02 if slow and outcome == 429 else 0.0), ended, outcome)
        made.sent += 1
    return made


def watch(service: Service) -> Watch:
    """Marks of every second, also of the peak before."""
    watching = Watch(service)
    others = 0.0
    for second in range(970, 1_013):
        watching.marks.append(Mark(second + 0.0, memory_mb=200.0 + second / 1_000, stolen=0.0, others=others))
        others += 1.0 if second - 1_000 in DISTURBED else 0.0
    return watching


def test_figures_are_given_for_all_seconds_and_for_those_that_nobody_disturbed() -> None:
    load = Load(rate=2.0 * PEAK, concurrency=None, seconds=10.0, requests=10_000, arrivals="constant")
    at_peak = Samples(began=975.0, window=20.0)
    over = samples()
    report = report_overload(
        watch(Service.__new__(Service)),
        [at_peak, over],
        stage(load, over, run="r"),
        peak=PEAK,
        peak_after=PEAK,
        minutes=10 / 60,
        threads=1,
    )
    assert report.goodput_ratio == pytest.approx(0.85)
    assert report.goodput_tenths == pytest.approx([1.0] * 5 + [0.5] * 3 + [1.0] * 2)
    assert (report.refused_late, report.refused_late_sent_late) == (150, 150)
    assert report.taken_at_peak == 0
    assert report.others_tenths[6] == pytest.approx(1.0)
    assert report.undisturbed is not None
    assert report.undisturbed.seconds <= 7
    assert report.undisturbed.goodput_ratio == pytest.approx(1.0)
    assert report.undisturbed.refused_late == 0
    assert not report.holds
