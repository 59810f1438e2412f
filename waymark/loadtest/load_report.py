"""The report of a load test, and figures computed from it. Pure functions.

An answer is a 2xx. A refusal is a 429, 503 or 504. An error is anything else: another status, a broken connection, no
answer in time. Percentiles are of answers alone, by nearest rank, so each is a latency that some request really had;
refusals have their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import computed_field

from waymark.contracts import Contract
from waymark.loadtest.load_loops import Load, Outcome, Samples

REFUSALS = frozenset({429, 503, 504})
PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}
"""Fields of `Quantiles`, with their names in tables."""
PATIENCE_MS = 1_000.0
"""An answer that comes later than this does not count as goodput, because its caller no longer waits."""
_SLOWEST = 5


class Quantiles(Contract):
    """Quantiles of latencies, in milliseconds. Null if there are none."""

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None


class Slow(Contract):
    """One of the slowest answers; its id is in the service's log and traces."""

    request_id: str
    latency_ms: float


class Stage(Contract):
    """One load and its results. `sent` is the sum of answered, refused, errors and unanswered."""

    loop: Literal["open", "closed"]
    rate: float | None
    """Requests due a second; null in a closed loop."""
    arrivals: Literal["poisson", "constant"] | None
    concurrency: int | None
    """Requests under way at once; null in an open loop."""
    of_saturation: float | None
    """In a ramp: the rate as a share of the closed loop's throughput."""
    seconds: float
    """Seconds in which answers count for the throughput."""
    sent: int
    answered: int
    refused: dict[str, int]
    """Refusals by status: 429 queue full, 503 starting or draining, 504 past its deadline."""
    errors: dict[str, int]
    unanswered: int
    """Requests that were cancelled when the test was interrupted."""
    throughput: float
    """Answers a second."""
    goodput: float
    """The same without those that came more than `PATIENCE_MS` after they were due."""
    latency_ms: Quantiles
    """From when a request was due (open loop) or sent (closed loop) to the last byte of its answer."""
    service_ms: Quantiles
    """The same from when it was really sent: without what this process and a full connection pool added."""
    refused_ms: Quantiles
    late_ms: Quantiles
    """How long after they were due requests were sent. If this is large, the load generator was the bottleneck, not the
    service."""
    slowest: tuple[Slow, ...]

    @property
    def name(self) -> str:
        """The load in words; equal loads of two tests have equal names."""
        if self.of_saturation is not None:
            return f"{self.of_saturation:g} × saturation"
        if self.loop == "closed":
            return f"{self.concurrency} concurrent"
        return f"{self.rate:g}/s {self.arrivals}"


class Target(Contract):
    """The server at a URL."""

    url: str
    service: str
    """`controller`, `executor`, or `openai` for any other server."""
    path: str
    model: str
    version: str | None = None
    checkpoint: str | None = None
    engine: str | None = None
    """Engine and dtype, e.g. `ctranslate2 int8_float32`."""
    prompt_format: str
    """The prompt format of completion requests."""
    history_turns: int | None = None
    """The turns that a state carries, by `/info`; null: not known."""


class LoadReport(Contract):
    """A whole test; `--json` prints it and `compare` reads it."""

    waymark: str
    started: str
    """ISO 8601, UTC."""
    machine: str
    """The machine of the load generator."""
    target: Target
    states: str
    """The source of the requests."""
    distinct: int
    """Number of different requests; they are sent in turn."""
    short: int = 0
    """States that carry fewer turns than a worker would send: their prompts are shorter than in play."""
    seed: int
    interrupted: bool
    stages: tuple[Stage, ...]

    @property
    def peak(self) -> Stage | None:
        """The stage with the highest throughput."""
        return max(self.stages, key=lambda stage: stage.throughput, default=None)

    @property
    def failed(self) -> bool:
        """Whether a request got neither an answer nor an orderly refusal."""
        return any(stage.errors for stage in self.stages)


def stage(load: Load, samples: Samples, *, run: str) -> Stage:
    """A stage from its samples; `run` is the part of the request ids that its requests share."""
    due, started, ended = (np.asarray(times) for times in (samples.due, samples.started, samples.ended))
    answered = _where(samples.outcome, is_answer)
    refused = _where(samples.outcome, REFUSALS.__contains__)
    latency = (ended - due) * 1000
    counted = ended[answered] <= samples.began + samples.window
    wanted = counted & (latency[answered] <= PATIENCE_MS)
    counts = samples.counts
    slowest = [place for place in np.argsort(-latency, kind="stable") if answered[place]][:_SLOWEST]
    return Stage(
        loop="closed" if load.rate is None else "open",
        rate=load.rate,
        arrivals=None if load.rate is None else load.arrivals,
        concurrency=load.concurrency,
        of_saturation=load.of_saturation,
        seconds=round(samples.window, 3),
        sent=samples.sent,
        answered=int(answered.sum()),
        refused=_named((outcome, count) for outcome, count in counts.items() if outcome in REFUSALS),
        errors=_named(
            (outcome, count) for outcome, count in counts.items() if not (is_answer(outcome) or outcome in REFUSALS)
        ),
        unanswered=samples.sent - len(samples.outcome),
        throughput=_rate(counted, samples.window),
        goodput=_rate(wanted, samples.window),
        latency_ms=quantiles(latency[answered]),
        service_ms=quantiles((ended - started)[answered] * 1000),
        refused_ms=quantiles(latency[refused]),
        late_ms=quantiles((started - due) * 1000),
        slowest=tuple(
            Slow(request_id=f"{run}-{samples.number[place]}", latency_ms=round(float(latency[place]), 3))
            for place in slowest
        ),
    )


def quantiles(values: NDArray[np.float64]) -> Quantiles:
    """Quantiles by nearest rank: the smallest value such that this share of values is not above it."""
    if not len(values):
        return Quantiles(count=0, mean=None, p50=None, p90=None, p99=None, p999=None, max=None)
    ordered = np.sort(values).round(3)

    def at(per_mille: int) -> float:
        return float(ordered[-(-len(ordered) * per_mille // 1000) - 1])  # the rank rounded up

    return Quantiles(
        count=len(ordered),
        mean=round(float(ordered.mean()), 3),
        p50=at(500),
        p90=at(900),
        p99=at(990),
        p999=at(999),
        max=at(1000),
    )


def is_answer(outcome: Outcome) -> bool:
    """Whether a request was answered with success."""
    return isinstance(outcome, int) and 200 <= outcome < 300


def _rate(counted: NDArray[np.bool_], seconds: float) -> float:
    return round(float(counted.sum()) / seconds, 3) if seconds else 0.0


def _where(outcomes: Sequence[Outcome], holds: Callable[[Outcome], bool]) -> NDArray[np.bool_]:
    return np.fromiter((holds(outcome) for outcome in outcomes), dtype=np.bool_, count=len(outcomes))


def _named(counts: Iterable[tuple[Outcome, int]]) -> dict[str, int]:
    return dict(sorted((str(outcome), count) for outcome, count in counts))


class Change(Contract):
    """One figure of two tests."""

    figure: str
    unit: str
    first: float | None
    second: float | None

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own pattern
    @property
    def ratio(self) -> float | None:
        """The second figure divided by the first; null if that has no meaning."""
        return self.second / self.first if self.first and self.second is not None else None


def compare(first: LoadReport, second: LoadReport) -> dict[str, tuple[Change, ...]]:
    """The figures of every load that both tests did, by its name, and `peak`: the highest throughput of each."""
    others = {load.name: load for load in second.stages}
    changes = {load.name: _changes(load, others[load.name]) for load in first.stages if load.name in others}
    if first.peak and second.peak:
        peak = Change(figure="throughput", unit="/s", first=first.peak.throughput, second=second.peak.throughput)
        changes["peak"] = (peak,)
    return changes


def _changes(first: Stage, second: Stage) -> tuple[Change, ...]:
    percentiles = [
        Change(figure=label, unit="ms", first=getattr(first.latency_ms, name), second=getattr(second.latency_ms, name))
        for name, label in PERCENTILES.items()
    ]
    return (
        Change(figure="throughput", unit="/s", first=first.throughput, second=second.throughput),
        *percentiles,
        Change(figure="refused", unit="", first=sum(first.refused.values()), second=sum(second.refused.values())),
        Change(figure="errors", unit="", first=sum(first.errors.values()), second=sum(second.errors.values())),
    )
