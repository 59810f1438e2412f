"""How a service is asked: at a rate whether or not it keeps up, or by callers who wait for their answers.

In an open loop each request has a moment at which it is due, decided before the loop begins. Its latency counts
from that moment: when the service stalls, or this process is late, the requests that should have been sent
meanwhile are sent all the same, and their wait counts. So nothing that goes wrong hides its own measurement
(coordinated omission). In a closed loop a caller sends as soon as it has its answer, and latency counts from there.

Knows nothing of HTTP: `send` does one request and says what came of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Outcome = int | str
"""An HTTP status, or the name of what went wrong instead."""
Send = Callable[[int], Awaitable[Outcome]]
"""Sends the request of that number. Never raises but when it is cancelled."""
Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True)
class Load:
    """One stage of a test: a rate or a number of callers, and when to end."""

    rate: float | None
    """Requests due a second, or null in a closed loop."""
    concurrency: int | None
    """Requests under way at once, or null in an open loop."""
    seconds: float
    requests: int
    """Ends after this many even if time is left."""
    arrivals: Arrivals = "poisson"
    """Whether the moments of an open loop are random, as those of many independent callers, or evenly spaced."""
    of_saturation: float | None = None
    """The rate as a share of the saturation rate, in a ramp."""


@dataclass(slots=True)
class Samples:
    """What has been measured of one stage so far. Times are seconds of the monotonic clock, finer than a loop's own."""

    began: float
    sent: int = 0
    due: array[float] = field(default_factory=lambda: array("d"))
    started: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    number: array[int] = field(default_factory=lambda: array("q"))
    outcome: list[Outcome] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)
    window: float = 0.0
    """Seconds in which answers count for the throughput; 0 while the stage goes on."""

    def add(self, number: int, due: float, started: float, ended: float, outcome: Outcome) -> None:
        """One request is over."""
        self.number.append(number)
        self.due.append(due)
        self.started.append(started)
        self.ended.append(ended)
        self.outcome.append(outcome)
        self.counts[outcome] += 1


def schedule(load: Load, seed: int) -> Iterator[float]:
    """When requests of an open loop are due, in seconds from its beginning, within its bounds."""
    assert load.rate is not None
    moments = _poisson(load.rate, random.Random(seed)) if load.arrivals == "poisson" else _constant(load.rate)
    within = itertools.takewhile(lambda moment: moment < load.seconds, moments)
    return itertools.islice(within, load.requests)


def _poisson(rate: float, chance: random.Random) -> Iterator[float]:
    moment = 0.0
    while True:
        moment += chance.expovariate(rate)
        yield moment


def _constant(rate: float) -> Iterator[float]:
    return (number / rate for number in itertools.count())


async def drive(
    send: Send, load: Load, samples: Samples, *, stop: asyncio.Event, first: int = 0, seed: int = 0
) -> None:
    """Do one stage, into `samples`. Its requests are numbered from `first`.

    Ends when all answers are there. Once `stop` is set no more is sent, and what is under way is given up.
    """
    loop = asyncio.get_running_loop()

    async def ask(number: int, due: float) -> None:
        samples.sent += 1
        started = time.monotonic()
        outcome = await send(number)
        samples.add(number, due, started, time.monotonic(), outcome)

    async def open_loop() -> None:
        async with asyncio.TaskGroup() as under_way:
            for number, moment in enumerate(schedule(load, seed), start=first):
                due = samples.began + moment
                await asyncio.sleep(due - time.monotonic())
                under_way.create_task(ask(number, due))

    async def call(numbers: Iterator[int]) -> None:
        for number in numbers:
            await ask(number, time.monotonic())
            if time.monotonic() >= samples.began + load.seconds:
                return

    async def closed_loop() -> None:
        numbers = iter(range(first, first + load.requests))
        async with asyncio.TaskGroup() as callers:
            for _ in range(load.concurrency or 1):
                callers.create_task(call(numbers))

    work = loop.create_task(closed_loop() if load.rate is None else open_loop())
    stopping = loop.create_task(stop.wait())
    try:
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        stopping.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)
    ended_early = stop.is_set() or samples.sent == load.requests
    samples.window = time.monotonic() - samples.began if ended_early else load.seconds
