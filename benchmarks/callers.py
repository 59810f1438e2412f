"""Callers of a service for benchmarks: each waits for its answer, then asks again."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from benchmarks.bare_http import AnswerReader, head_of
from waymark.contracts import ActionRequest, AgentState
from waymark.loadtest.sample_states import sample

_TIMEOUT_SECONDS = 120
_PAUSE_SECONDS = 0.05
"""After a refusal."""


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


def states() -> list[AgentState]:
    """The recorded states at which an executor was asked, always shuffled in the same way."""
    shuffled = [decision.state for decision in sample() if decision.asked == "executor"]
    random.Random(0).shuffle(shuffled)
    return shuffled


def bodies() -> list[bytes]:
    """A request for each of these states."""
    return [ActionRequest(state=state).model_dump_json(exclude_defaults=True).encode() for state in states()]


async def ask(
    url: str,
    requests: Sequence[bytes],
    callers: int,
    seconds: float,
    *,
    beside: Sequence[bytes] = (),
    beside_url: str | None = None,
) -> tuple[Measured, Measured]:
    """So many callers for so long; and one who sends what is `beside`, to another URL if given. What each side got.

    Raises TimeoutError if an answer is missing long after that.
    """
    ours, others = Measured(), Measured()
    sent, sent_beside = _written(url, requests), _written(beside_url or url, beside)
    numbers = itertools.count()
    began = time.perf_counter()
    sides = [_Side(url, sent, ours, began + seconds) for _ in range(callers)]
    heavy = [_Side(beside_url or url, sent_beside, others, began + seconds)] if beside else []
    async with asyncio.timeout(seconds + _TIMEOUT_SECONDS):
        asked_beside = [asyncio.create_task(side.ask(numbers)) for side in heavy]
        await asyncio.gather(*(side.ask(numbers) for side in sides))
        ours.seconds = others.seconds = time.perf_counter() - began
    for task in asked_beside:
        task.cancel()
    await asyncio.gather(*asked_beside, return_exceptions=True)
    return ours, others


def _written(url: str, documents: Sequence[bytes]) -> list[bytes]:
    """Each document as a whole HTTP request."""
    return [b"%b\r\n\r\n%b" % (head_of(url, document), document) for document in documents]


@dataclass
class _Side:
    """One caller: where it asks, what, until when, and what it got."""

    url: str
    requests: Sequence[bytes]
    measured: Measured
    until: float
    """By `time.perf_counter`."""

    async def ask(self, numbers: Iterator[int]) -> None:
        """Ask on one connection, and on a new one when it breaks. `numbers` says which request comes next."""
        address = urlsplit(self.url)
        if address.hostname is None or address.port is None:
            raise ValueError(f"A URL without host and port: {self.url}")
        loop = asyncio.get_running_loop()
        while time.perf_counter() < self.until:
            try:
                transport, connection = await loop.create_connection(
                    lambda: _Connection(self.requests, numbers, self.measured, self.until),
                    address.hostname,
                    address.port,
                )
                try:
                    await connection.ended
                finally:
                    transport.close()
            except OSError as error:
                self.measured.refused[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_SECONDS)


class _Connection(asyncio.Protocol):
    """Sends a request, reads its answer, and sends the next one, until the time is over."""

    def __init__(self, requests: Sequence[bytes], numbers: Iterator[int], measured: Measured, until: float) -> None:
        self._requests, self._numbers, self._measured, self._until = requests, numbers, measured, until
        self._reader = AnswerReader()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        if self._began < self._until:
            self._transport.write(self._requests[next(self._numbers) % len(self._requests)])
        elif not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            answer = self._reader.feed(data)
        except ValueError as error:
            self.ended.set_exception(error)
            return
        if answer is None:
            return
        if answer.status < 300:
            self._measured.latencies_ms.append((time.perf_counter() - self._began) * 1000)
            self._send()
        else:
            self._measured.refused[str(answer.status)] += 1
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._send)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("closed by the service"))
