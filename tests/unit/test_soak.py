"""How the soak tells what a service did from what was done to it."""

from __future__ import annotations

import pytest

from benchmarks.cpu_contention import ContentionMonitor, Mark
from benchmarks.services import Service
from benchmarks.soak.overload import Overload, report_overload
from waymark.loadtest.load_loops import Load, Outcome, Samples
from waymark.loadtest.load_report import stage

PEAK = 100
"""Answers a second."""
DISTURBED = range(5, 8)
"""Seconds in which others take a core, half of the answers come too late, and refusals too."""
STOLEN = 2
"""A second in which the host takes a tenth of a core, and one refusal is late."""
UNEXPLAINED = 0
"""One in which a refusal is late and nothing was taken."""
LOAD_LATE = 9
"""One in which the load sends all refused requests 60 ms late."""


def samples() -> Samples:
    """Ten seconds at twice the peak, every other request refused."""
    load = Samples(began=1_000.0, window=10.0)
    for number in range(2 * PEAK * 10):
        second, within = divmod(number, 2 * PEAK)
        due = load.began + number / (2 * PEAK)
        outcome: Outcome = 429 if number % 2 else 200
        started = due + (0.06 if second == LOAD_LATE and outcome == 429 else 0.0)
        seconds = 0.01
        if second in DISTURBED and number % 4 < 2:
            seconds = 1.5
        if second in (STOLEN, UNEXPLAINED) and within == 101:
            seconds = 0.08
        load.add(number, due, started, started + seconds, outcome)
        load.sent += 1
    return load


def watch(service: Service) -> ContentionMonitor:
    """Marks of every second, also of the peak before."""
    watching = ContentionMonitor(service)
    others = stolen = 0.0
    for second in range(970, 1_013):
        memory = 200.0 + second / 1_000
        loop_seconds = 2e-5 if second - 1_000 == UNEXPLAINED + 1 else 1e-5
        watching.marks.append(Mark(float(second), memory, stolen, others, waited=2 * others, loop_seconds=loop_seconds))
        others += 1.0 if second - 1_000 in DISTURBED else 0.0
        stolen += 0.1 if second - 1_000 == STOLEN else 0.0
    return watching


@pytest.fixture
def report() -> Overload:
    load = Load(rate=2.0 * PEAK, concurrency=None, seconds=10.0, requests=10_000, arrivals="constant")
    over = samples()
    return report_overload(
        watch(Service.__new__(Service)),
        [Samples(began=975.0, window=20.0), over],
        stage(load, over, run="r"),
        peak=PEAK,
        peak_after=PEAK,
        minutes=10 / 60,
        threads=1,
    )


def test_figures_exist_for_all_and_for_undisturbed_seconds(report: Overload) -> None:
    assert report.goodput_ratio == pytest.approx(0.85)
    assert report.goodput_tenths == pytest.approx([1.0] * 5 + [0.5] * 3 + [1.0] * 2)
    assert report.taken_at_peak == 0
    assert report.others_tenths[6] == pytest.approx(1.0)
    assert report.undisturbed is not None
    assert report.undisturbed.seconds <= 7
    assert report.undisturbed.goodput_ratio == pytest.approx(1.0)


def test_refusals_are_timed_from_when_they_were_sent(report: Overload) -> None:
    assert report.refused_late == 150 + 2
    assert report.refused_late_from_due == 150 + 2 + PEAK
    assert report.sent_late_ms.max == pytest.approx(60)
    assert report.refused_ms.p50 == pytest.approx(10)
    assert not report.holds


def test_seconds_with_late_refusals_name_the_users_of_cores(report: Overload) -> None:
    assert [(second.second, second.refused_late, second.cause) for second in report.late_seconds] == [
        (UNEXPLAINED, 1, "neither"),
        (STOLEN, 1, "host"),
        *((second, 50, "others") for second in DISTURBED),
    ]
    slow, stolen, busy = report.late_seconds[0], report.late_seconds[1], report.late_seconds[3]
    assert (slow.speed, stolen.speed, busy.speed) == (0.5, 1.0, 1.0)
    assert (stolen.stolen, stolen.others, stolen.waited) == pytest.approx((0.1, 0.0, 0.0))
    assert stolen.slowest_ms == pytest.approx(80)
    assert busy.others == pytest.approx(2.0)  # until the last of them was over, 1.5 s later
    assert busy.waited == pytest.approx(4.0)
