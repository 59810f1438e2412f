"""Tables of a load test and of a comparison, with notes for the reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from waymark.clients.addresses import shown
from waymark.loadtest.load_report import PATIENCE_MS, PERCENTILES, Change, LoadReport, Quantiles, Stage
from waymark.terminal_table import Column, FittingTable

_LATE_MS = 10.0
"""Milliseconds. If requests were sent later than this after they were due, a note says so."""
_OVERLOAD = 1.8
"""A rate of so many times the peak counts as overload in the notes."""


def render(report: LoadReport) -> RenderableType:
    """The table of a test, a row a stage, and remarks."""
    target = report.target
    tested = " ".join(part for part in (target.service, target.checkpoint, target.engine) if part)
    # Without enough room, the columns that matter least for a healthy service are removed first.
    order = {"sent": 0, "max ms": 1, "p90": 2, "p99.9": 3, "errors": 4, "refused": 5, "answered": 6}
    headings = ("load", "sent", "answered", "refused", "errors", "per s", *PERCENTILES.values(), "max ms")
    table = FittingTable(
        [
            Column(heading, justify="left" if heading == "load" else "right", drop=order.get(heading))
            for heading in headings
        ],
        title=f"{shown(target.url)}{target.path}, {tested}",
    )
    for stage in report.stages:
        latency = stage.latency_ms
        table.add_row(
            _load(stage),
            str(stage.sent),
            str(stage.answered),
            str(sum(stage.refused.values())),
            str(sum(stage.errors.values())),
            f"{stage.throughput:.1f}",
            *(_ms(value) for value in (*_percentiles(latency), latency.max)),
        )
    return Group(table, *(Text(remark) for remark in _remarks(report)))


def render_comparison(first: LoadReport, second: LoadReport, changes: Mapping[str, tuple[Change, ...]]) -> Group:
    """Two tests side by side, the ratio last."""
    table = FittingTable(
        [
            Column("load", wrap=True),
            Column("", wrap=True),
            *(Column(heading, justify="right") for heading in ("first", "second", "second / first")),
        ]
    )
    for load, figures in changes.items():
        for number, change in enumerate(figures):
            ratio = "" if change.ratio is None else f"{change.ratio:.2f}"
            name = f"{change.figure} {change.unit}".strip()
            table.add_row(load if number == 0 else "", name, _ms(change.first), _ms(change.second), ratio)
        table.add_section()
    return Group(table, *(Text(remark) for remark in _differences(first, second)))


def _load(stage: Stage) -> str:
    return stage.name if stage.of_saturation is None else f"{stage.name} = {stage.rate:.1f}/s"


def _percentiles(latency: Quantiles) -> Iterator[float | None]:
    return (getattr(latency, name) for name in PERCENTILES)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value % 1 else f"{value:.0f}"


def _remarks(report: LoadReport) -> Iterator[str]:
    if report.interrupted:
        yield "Interrupted: this is what was measured until then."
    if report.short:
        sent = report.target.history_turns
        yield (
            f"{report.short} of {report.distinct} states have fewer turns than the {sent} that a worker sends, so "
            "their prompts are shorter than in play. Record them anew: "
            "python -m benchmarks.record_sample, or give a newer run with --states."
        )
    peak = report.peak.throughput if report.peak else 0.0
    overload = next((load for load in report.stages if peak and (load.rate or 0.0) >= _OVERLOAD * peak), None)
    if overload:
        share, refused = 100 * overload.goodput / peak, overload.refused_ms
        yield (
            f"Asked for {overload.rate:.1f}/s it answers {share:.0f}% of its peak of {peak:.1f}/s "
            f"within {PATIENCE_MS:.0f} ms"
            + (f", and refuses within {refused.p99:.1f} ms (p99)." if refused.p99 is not None else ".")
        )
    for stage in report.stages:
        for kind, count in stage.errors.items():
            yield f"{stage.name}: {count} × {kind if not kind.isdecimal() else f'HTTP {kind}'}"
    p99s = [stage.late_ms.p99 or 0.0 for stage in report.stages]
    late = [p99 for p99 in p99s if p99 > _LATE_MS]
    if late:
        yield (
            f"In {len(late)} of {len(report.stages)} loads requests were sent late, by up to {max(late):.0f} ms (p99): "
            "the latencies hold this machine's lack of time as well. Start the load from another one, or ask for less."
        )


def _differences(first: LoadReport, second: LoadReport) -> Iterator[str]:
    pairs = {
        "machine": (first.machine, second.machine),
        "states": (first.states, second.states),
        "seed": (first.seed, second.seed),
        **{
            name: (getattr(first.target, name), getattr(second.target, name))
            for name in ("service", "path", "model", "checkpoint", "engine")
        },
    }
    for name, (value, other_value) in pairs.items():
        if value != other_value:
            yield f"They differ in {name}: {value} and {other_value}."
    alone = {stage.name for stage in first.stages} ^ {stage.name for stage in second.stages}
    if alone:
        yield f"Only one of them did: {', '.join(sorted(alone))}."
