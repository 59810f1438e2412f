"""Callers of a service for benchmarks: each waits for its answer, then asks again."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from waymark.contracts import ActionRequest
from waymark.loadtest.sample_states import sample

_JSON = {"content-type": "application/json"}
_TIMEOUT_SECONDS = 120


@dataclass
class Measured:
    """What callers got."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    """Of answers, from when each was sent to its last byte."""
    refused: Counter[str] = field(default_factory=Counter)
    """By status, or the name of an error."""

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def p50(self) -> float:
        """Median latency in milliseconds."""
        return statistics.median(self.latencies_ms)

    @property
    def p99(self) -> float:
        """By nearest rank."""
        return sorted(self.latencies_ms)[math.ceil(0.99 * len(self.latencies_ms)) - 1]


def bodies() -> list[bytes]:
    """A request for each recorded state at which an executor was asked, shuffled."""
    states = [decision.state for decision in sample() if decision.asked == "executor"]
    random.Random(0).shuffle(states)
    return [ActionRequest(state=state).model_dump_json(exclude_defaults=True).encode() for state in states]


async def ask(
    url: str,
    requests: Sequence[bytes],
    callers: int,
    seconds: float,
    *,
    beside: Sequence[bytes] = (),
    beside_url: str | None = None,
) -> tuple[Measured, Measured]:
    """So many callers for so long; and one who sends what is `beside`, to another URL if given. What each side got."""
    ours, others = Measured(), Measured()
    numbers = itertools.count()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
    ) as session:
        until = time.perf_counter() + seconds

        async def call(url: str, documents: Sequence[bytes], measured: Measured) -> None:
            while time.perf_counter() < until:
                body = documents[next(numbers) % len(documents)]
                began = time.perf_counter()
                try:
                    async with session.post(url, data=body, headers=_JSON) as response:
                        await response.read()
                        status = response.status
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    measured.refused[type(error).__name__] += 1
                    continue
                if status < 300:
                    measured.latencies_ms.append((time.perf_counter() - began) * 1000)
                else:
                    measured.refused[str(status)] += 1
                    await asyncio.sleep(0.05)

        began = time.perf_counter()
        heavy = [asyncio.create_task(call(beside_url or url, beside, others))] if beside else []
        await asyncio.gather(*(call(url, requests, ours) for _ in range(callers)))
        ours.seconds = others.seconds = time.perf_counter() - began
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)
    return ours, others
