"""Overload changes neither goodput nor memory.

Finds what the default executor answers in a second when 64 callers wait for it, then sends twice as much,
whether or not it keeps up. Targets: goodput (answers within a second of when they were due) at least 90% of that peak,
everything else refused with 429 within 50 ms of when it was sent, memory flat (at most 5% more in the last tenth of the
time than in the second). What takes cores away meanwhile, the host of a virtual machine or other processes, is measured
each second (`benchmarks.cpu_contention`). Each second with a late refusal is listed with it and with the speed of the
core. This explains late refusals, but does not excuse them. The figures are given for all of the time, which decides,
and once more for the seconds in which nothing was taken. Refusals are also counted from when they were due, which adds
what this process was late with itself. The peak is taken once more afterwards, to tell whether the machine has become
slower; it decides nothing.

The engine has a thread for half of the cores, and these cores to itself (WAYMARK_OWN_CORES); the load shares the others
with the rest of the service. The load stands for callers on other machines, so it does not interrupt the service at
each answer (SCHED_BATCH). It may therefore read an answer later, which counts as the service's lateness.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import numpy as np
import typer
import uvloop
from numpy.typing import NDArray
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.bare_http import Connections
from benchmarks.cpu_contention import Contention, ContentionMonitor
from benchmarks.services import Service, machine, running
from benchmarks.soak.verdict import JsonFile, finish
from waymark.loadtest import load_stages, request_bodies, send_requests, target
from waymark.loadtest.load_loops import Samples
from waymark.loadtest.load_report import PATIENCE_MS, REFUSALS, Quantiles, Stage, is_answer, quantiles
from waymark.loadtest.sample_states import sample
from waymark.operating_system.cpu_cores import available_cores

GOODPUT_TARGET: Final = 0.9
REFUSAL_MS_TARGET: Final = 50.0
GROWTH_TARGET: Final = 0.05
_PEAK_CONCURRENCY: Final = 64
_OVERLOAD: Final = 2.0
_CONNECTIONS: Final = 512
"""More than are under way at once."""
_TAKEN: Final = 0.1
"""Cores of which a second may lose so much and count as undisturbed."""
_TENTHS: Final = 10
_SHOWN: Final = 8
"""Of the seconds with late refusals, so many are printed, the worst; the report has all."""
_NO_END: Final = 1_000_000_000
_SEED: Final = 0


class Undisturbed(BaseModel):
    """The same figures for the requests that were due while nobody took more than `_TAKEN` cores."""

    seconds: int
    goodput_ratio: float
    refused: int
    refused_late: int


Cause = Literal["host", "others", "neither"]


class LateSecond(BaseModel):
    """A second in which the service refused late, and who had the cores; seconds of one core."""

    second: int
    """Since the overload began."""
    refused_late: int
    slowest_ms: float
    stolen: float
    others: float
    waited: float
    """That the service's event loop could have run and had no core."""
    speed: float
    """Speed of the core that Python uses, as a share of its median speed."""
    cause: Cause
    """Which of host and others took more, if it was as much as a refusal may take; otherwise neither."""


class Overload(BaseModel):
    """What a service does when it is sent twice what it can answer."""

    machine: str
    threads: int
    minutes: float
    peak: float
    """Answers a second to 64 callers that wait for them."""
    rate: float
    """Requests a second that were sent afterwards."""
    goodput: float
    """Answers a second within a second of when they were due."""
    goodput_ratio: float
    goodput_tenths: tuple[float, ...]
    """The ratio in each tenth of the time."""
    stolen_tenths: tuple[float, ...]
    """Cores that the host of a virtual machine took away meanwhile; 0 on a machine of one's own."""
    others_tenths: tuple[float, ...]
    """Cores that processes other than the service and this one used meanwhile."""
    speed_tenths: tuple[float, ...]
    """Speed of the core that Python uses, in the slowest second of each tenth, as a share of its median speed."""
    taken_at_peak: float
    """Cores that both took while the peak was found."""
    peak_after: float
    """The peak once more, after the overload."""
    undisturbed: Undisturbed | None
    """None when there was no such second."""
    answered: int
    refused: dict[str, int]
    errors: dict[str, int]
    refused_late: int
    """Refusals that took the service longer than 50 ms: from when the request was really sent."""
    refused_late_from_due: int
    """The same from when the request was due: with what this process was late itself."""
    late_seconds: tuple[LateSecond, ...]
    refused_ms: Quantiles
    """From when requests were really sent."""
    latency_ms: Quantiles
    """Of answers, from when they were due."""
    sent_late_ms: Quantiles
    """How long after they were due requests were sent."""
    memory_mb: tuple[float, ...]
    """Medians of the tenths of the time."""
    memory_growth: float
    """Of the last tenth over the second: the first one warms up."""

    @property
    def holds(self) -> bool:
        """All targets are met."""
        return (
            self.goodput_ratio >= GOODPUT_TARGET
            and set(self.refused) <= {"429"}
            and not self.errors
            and not self.refused_late
            and self.memory_growth <= GROWTH_TARGET
        )


async def _overload(
    service: Service, minutes: float, peak_seconds: float, threads: int, report: Callable[[str], None]
) -> Overload:
    states = [example for example in sample() if example.asked == "executor"]
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[threads:] or os.sched_getaffinity(0))
    async with AsyncExitStack() as entered:
        http = await entered.enter_async_context(send_requests.connect(key=None, timeout=60))
        contention = await entered.enter_async_context(ContentionMonitor(service))
        served = await target.find(http, service.url, api="auto", model=None)
        bodies = request_bodies.write_requests(served, states, seed=_SEED)
        await send_requests.probe(http, served, bodies)
        connections = await entered.enter_async_context(Connections(served.url + served.path, bodies, run="soak"))
        all_samples: list[Samples] = []

        async def stage(plan: load_stages.Plan) -> Stage:
            measured = load_stages.measure(
                connections.send,
                plan,
                run="soak",
                seed=_SEED,
                stop=asyncio.Event(),
                watch=lambda _, samples: all_samples.append(samples),
            )
            (only,) = [stage async for stage in measured]
            return only

        report(f"finding the peak: {_PEAK_CONCURRENCY} callers, {peak_seconds:g} s")
        closed = load_stages.plan(concurrencies=[_PEAK_CONCURRENCY], seconds=peak_seconds, requests=_NO_END)
        peak = (await stage(closed)).throughput
        report(f"peak {peak:.0f} a second; sending {_OVERLOAD:g} times that for {minutes:g} minutes")
        # This process stands for many callers, who have their connections. To make one in the middle of a burst takes
        # several rounds of both event loops, and would count as the service's lateness.
        await connections.open(_CONNECTIONS)
        over = await stage(load_stages.plan(rates=[_OVERLOAD * peak], seconds=60 * minutes, requests=_NO_END))
        peak_after = (await stage(closed)).throughput
    return report_overload(
        contention, all_samples, over, peak=peak, peak_after=peak_after, minutes=minutes, threads=threads
    )


def report_overload(
    contention: ContentionMonitor,
    all_samples: Sequence[Samples],
    over: Stage,
    *,
    peak: float,
    peak_after: float,
    minutes: float,
    threads: int,
) -> Overload:
    """What `contention` saw, and the samples of the peak and of the overload, come to; the rest is as in `Overload`."""
    at_peak, ours = all_samples[0], all_samples[1]
    tenth = 60 * minutes / _TENTHS
    due, late_ms = np.asarray(ours.due), (np.asarray(ours.ended) - np.asarray(ours.due)) * 1000
    good = np.asarray([is_answer(outcome) for outcome in ours.outcome]) & (late_ms <= PATIENCE_MS)
    refused = np.asarray([outcome in REFUSALS for outcome in ours.outcome])
    took_ms = (np.asarray(ours.ended) - np.asarray(ours.started)) * 1000
    refused_late = refused & (took_ms > REFUSAL_MS_TARGET)
    second = (due - ours.began).astype(int)
    seconds = range(round(60 * minutes))
    begins = ((number, ours.began + number) for number in seconds)
    quiet = [number for number, begin in begins if contention.between(begin, begin + 1).cores <= _TAKEN]
    in_quiet = np.isin(second, quiet)
    undisturbed = (
        Undisturbed(
            seconds=len(quiet),
            goodput_ratio=int((good & in_quiet).sum()) / len(quiet) / peak,
            refused=int((refused & in_quiet).sum()),
            refused_late=int((refused_late & in_quiet).sum()),
        )
        if quiet
        else None
    )
    parts = [(ours.began + number * tenth, ours.began + (number + 1) * tenth) for number in range(_TENTHS)]
    taken = [contention.between(*part) for part in parts]
    memory = [statistics.median(mark.memory_mb for mark in contention.marks_around(*part)) for part in parts]
    counted = np.bincount(((due - ours.began) / tenth).astype(int)[good], minlength=_TENTHS)
    return Overload(
        machine=machine(),
        threads=threads,
        minutes=minutes,
        peak=peak,
        rate=_OVERLOAD * peak,
        goodput=over.goodput,
        goodput_ratio=over.goodput / peak,
        goodput_tenths=tuple(int(count) / tenth / peak for count in counted[:_TENTHS]),
        stolen_tenths=tuple(part.stolen / part.seconds for part in taken),
        others_tenths=tuple(part.others / part.seconds for part in taken),
        speed_tenths=tuple(part.speed for part in taken),
        taken_at_peak=contention.between(at_peak.began, at_peak.began + at_peak.window).cores,
        peak_after=peak_after,
        undisturbed=undisturbed,
        answered=over.answered,
        refused=over.refused,
        errors=over.errors,
        refused_late=int(refused_late.sum()),
        refused_late_from_due=int((refused & (late_ms > REFUSAL_MS_TARGET)).sum()),
        late_seconds=_late_seconds(contention, ours, refused_late),
        refused_ms=quantiles(took_ms[refused]),
        latency_ms=over.latency_ms,
        sent_late_ms=over.late_ms,
        memory_mb=tuple(memory),
        memory_growth=memory[-1] / memory[1] - 1,
    )


def _late_seconds(contention: ContentionMonitor, samples: Samples, late: NDArray[np.bool_]) -> tuple[LateSecond, ...]:
    """The seconds in which some of these requests were sent, and what was taken until the last of them was over."""
    sent, ended = np.asarray(samples.started), np.asarray(samples.ended)
    second = (sent - samples.began).astype(int)
    seconds = []
    for number in np.unique(second[late]):
        here = late & (second == number)
        taken = contention.between(sent[here].min(), ended[here].max())
        seconds.append(
            LateSecond(
                second=int(number),
                refused_late=int(here.sum()),
                slowest_ms=float((ended - sent)[here].max()) * 1000,
                stolen=taken.stolen,
                others=taken.others,
                waited=taken.waited,
                speed=taken.speed,
                cause=_cause(taken),
            )
        )
    return tuple(seconds)


def _cause(taken: Contention) -> Cause:
    most: Cause = "host" if taken.stolen > taken.others else "others"
    return most if max(taken.stolen, taken.others) * 1000 >= REFUSAL_MS_TARGET else "neither"


def overload(
    minutes: Annotated[float, typer.Option(help="Minutes of overload.")] = 10.0,
    peak_seconds: Annotated[
        float, typer.Option(help="Seconds of each measurement of the peak, before and after the overload.")
    ] = 20.0,
    threads: Annotated[
        int, typer.Option(help="Threads of the engine; 0: half of the cores, the others are for the callers.")
    ] = 0,
    json: JsonFile = None,
) -> None:
    """Twice what a service can answer."""
    console = Console(highlight=False)
    threads = threads or max(1, available_cores() // 2)
    settings = {"THREADS": str(threads), "OWN_CORES": "1"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        running("services.executor", settings, Path(scratch) / "executor.log") as service,
    ):
        report = uvloop.run(_overload(service, minutes, peak_seconds, threads, console.print))
    table = Table("", "measured", "target", title=report.machine)
    table.add_row("goodput, share of the peak", f"{report.goodput_ratio:.2f}", f">= {GOODPUT_TARGET}")
    table.add_row("the same by tenths of the time", " ".join(f"{tenth:.2f}" for tenth in report.goodput_tenths), "")
    table.add_row("cores stolen by the host, by tenths", " ".join(f"{tenth:.2f}" for tenth in report.stolen_tenths), "")
    table.add_row("cores used by others, by tenths", " ".join(f"{tenth:.2f}" for tenth in report.others_tenths), "")
    table.add_row(
        "speed of the core, slowest s of tenths", " ".join(f"{tenth:.2f}" for tenth in report.speed_tenths), ""
    )
    table.add_row("cores that both took while the peak was found", f"{report.taken_at_peak:.2f}", "")
    table.add_row("the peak afterwards", f"{report.peak_after:.0f}", "")
    table.add_row("answered, median and 99% in ms", f"{report.latency_ms.p50} {report.latency_ms.p99}", "")
    refusals = sum(report.refused.values())
    limit = f"{REFUSAL_MS_TARGET:.0f} ms"
    table.add_row(f"429s over {limit} after they were sent", f"{report.refused_late:,} of {refusals:,}", "0")
    for cause in get_args(Cause):
        late = sum(second.refused_late for second in report.late_seconds if second.cause == cause)
        table.add_row(f"  of them with the cores taken by {cause}", f"{late:,}", "")
    for worst in sorted(report.late_seconds, key=lambda second: -second.refused_late)[:_SHOWN]:
        table.add_row(
            f"  in second {worst.second}: {worst.refused_late:,}, slowest {worst.slowest_ms:.0f} ms",
            f"host {worst.stolen:.2f} s, others {worst.others:.2f} s, loop waited {worst.waited:.2f} s, "
            f"core at {worst.speed:.2f} of its speed",
            "",
        )
    table.add_row(f"429s over {limit} after they were due", f"{report.refused_late_from_due:,}", "")
    if (calm := report.undisturbed) is not None:
        table.add_row(f"goodput in the {calm.seconds} s that nobody disturbed", f"{calm.goodput_ratio:.2f}", "")
        table.add_row("late 429s in them", f"{calm.refused_late:,} of {calm.refused:,}", "")
    table.add_row(
        "429s, median, 99% and slowest in ms",
        f"{report.refused_ms.p50} {report.refused_ms.p99} {report.refused_ms.max}",
        f"<= {REFUSAL_MS_TARGET:.0f}",
    )
    table.add_row("sent late by the load itself, 99% in ms", f"{report.sent_late_ms.p99}", "")
    table.add_row("all refusals, errors", f"{report.refused} {report.errors}", "429 alone")
    table.add_row(
        "memory, MB, second to last tenth",
        f"{report.memory_mb[1]:.0f} to {report.memory_mb[-1]:.0f}",
        f"<= {100 * GROWTH_TARGET:.0f}% more",
    )
    console.print(table)
    summary = (
        f"{report.minutes:g} min at {_OVERLOAD:g} times the peak of {report.peak:.0f}/s: "
        f"goodput {report.goodput_ratio:.2f} of it, {report.refused_late:,} late refusals, "
        f"memory {100 * report.memory_growth:+.1f}%"
    )
    finish(console, report, json, summary, holds=report.holds)
