"""A whole test: its stages in order. The first stage of a ramp determines the rates of the others."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from waymark.errors import InvalidInput
from waymark.loadtest import load_report
from waymark.loadtest.load_loops import Arrivals, Load, Samples, Send, drive
from waymark.loadtest.load_report import Stage

RAMP_CONCURRENCY = 64
"""Callers of the closed loop that measures the saturation rate."""
RAMP = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
"""The rates of the following stages, as shares of the throughput of that loop."""
_RAMP_FURTHER = 1.5
"""How rates grow where a service answers more in an open loop than in the closed one …"""
_RAMP_OVER = 1.8
"""… until one is so many times the highest throughput seen …"""
_RAMP_MOST = 16
"""… or there are so many stages."""
_CONCURRENCY = 16
_COLLECT_AFTER = 50_000
"""Objects: more than thousands of requests under way have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a test. `stages` are all stages; for a ramp only the first one."""

    stages: tuple[Load, ...]
    ramp: bool

    def __len__(self) -> int:
        return len(self.stages) + (len(RAMP) if self.ramp else 0)

    def following(self, done: Sequence[Stage]) -> Iterator[Load]:
        """The stages as they come; `done` grows meanwhile."""
        yield from self.stages
        if not self.ramp or not (saturation := done[0].throughput):
            return
        share = 0.0
        while len(done) <= len(RAMP) or (
            share * saturation < _RAMP_OVER * max(stage.throughput for stage in done) and len(done) < _RAMP_MOST
        ):
            share = RAMP[len(done) - 1] if len(done) <= len(RAMP) else share * _RAMP_FURTHER
            yield replace(self.stages[0], concurrency=None, rate=share * saturation, of_saturation=share)


def plan(
    *,
    rates: Sequence[float] = (),
    concurrencies: Sequence[int] = (),
    ramp: bool = False,
    arrivals: Arrivals = "poisson",
    seconds: float,
    requests: int,
) -> Plan:
    """Open loops of these rates, closed loops of these concurrencies, or a ramp. Raises InvalidInput."""
    if sum((bool(rates), bool(concurrencies), ramp)) > 1:
        raise InvalidInput(
            "A load test takes rates, concurrencies, or a ramp.", remedy="Give one of --rate, --concurrency and --ramp."
        )
    load = Load(None, None, seconds, requests, arrivals)
    if ramp:
        return Plan((replace(load, concurrency=RAMP_CONCURRENCY),), ramp=True)
    if rates:
        return Plan(tuple(replace(load, rate=rate) for rate in rates), ramp=False)
    return Plan(
        tuple(replace(load, concurrency=concurrency) for concurrency in concurrencies or (_CONCURRENCY,)), ramp=False
    )


async def measure(
    send: Send,
    plan: Plan,
    *,
    run: str,
    seed: int,
    stop: asyncio.Event,
    watch: Callable[[Load, Samples], None] = lambda _load, _samples: None,
) -> AsyncIterator[Stage]:
    """Yield each stage when it ends. After `stop` is set, the running stage ends with its present samples, and no other
    begins.

    `run` is what request ids begin with; `watch` is given the samples of each stage when it begins.
    """
    # A garbage collection stops this process, so requests would be sent late. Requests are freed by their reference
    # counts, so no collection is needed; one would need 15 ms for the samples of some minutes alone.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    done: list[Stage] = []
    first = 0
    for load in plan.following(done):
        if stop.is_set():
            return
        samples = Samples(began=time.monotonic())
        watch(load, samples)
        await drive(send, load, samples, stop=stop, first=first, seed=seed)
        done.append(load_report.stage(load, samples, run=run))
        first += samples.sent
        yield done[-1]
