"""Plots of a report as SVG text. Colours come from classes of the page that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_ROW = 22
_LABELS = 330
_PLOT = 460
_VALUE = 90
_Interval = tuple[float, float] | None


def bars(rows: Sequence[tuple[str, str, float, _Interval]], title: str) -> str:
    """Scores from 0 to 100 as bars with their intervals: id, name, mean, interval."""
    parts = []
    for place, (task, name, mean, interval) in enumerate(rows):
        y = place * _ROW
        parts.append(_label(f"{task} {name}", y))
        parts.append(f'<rect class="scale" x="{_LABELS}" y="{y + 4}" width="{_PLOT}" height="12"/>')
        width = _PLOT * min(100.0, max(0.0, mean)) / 100
        parts.append(f'<rect class="bar" x="{_LABELS}" y="{y + 4}" width="{width:.1f}" height="12"/>')
        if interval is not None:
            parts.append(_whisker(*(_LABELS + _PLOT * end / 100 for end in interval), y=y + 10))
        parts.append(_value(f"{mean:.1f}", y))
    return _svg(parts, len(rows), title)


def differences(rows: Sequence[tuple[str, float, _Interval]], title: str) -> str:
    """Differences from -100 to 100 as bars from the middle: label, difference, interval."""
    middle = _LABELS + _PLOT / 2
    parts = [f'<line class="zero" x1="{middle}" x2="{middle}" y1="0" y2="{len(rows) * _ROW}"/>']
    for place, (label, difference, interval) in enumerate(rows):
        y = place * _ROW
        width = _PLOT / 2 * min(100.0, abs(difference)) / 100
        left = middle if difference >= 0 else middle - width
        kind = "bar" if difference >= 0 else "minus"
        parts.append(_label(label, y))
        parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="12"/>')
        if interval is not None:
            parts.append(_whisker(*(middle + _PLOT / 2 * end / 100 for end in interval), y=y + 10))
        parts.append(_value(f"{difference:+.1f}", y))
    return _svg(parts, len(rows), title)


def score_line(scores: Sequence[int], title: str) -> str:
    """The score after each turn as a line of steps; nothing for an episode without turns."""
    if not scores:
        return ""
    width, height = _LABELS + _PLOT + _VALUE, 90
    low = min(0, *scores, 0)
    step = width / len(scores)

    def y(score: int) -> float:
        return 5 + (height - 10) * (100 - score) / (100 - low)

    steps = " ".join(f"V {y(score):.1f} H {(place + 1) * step:.1f}" for place, score in enumerate(scores))
    return (
        f'<div class="wide"><svg role="img" aria-label="{escape(title, quote=True)}" '
        f'viewBox="0 0 {width} {height}" width="{width}">'
        f'<line class="zero" x1="0" x2="{width}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<path class="line" d="M 0 {y(0):.1f} {steps}"/></svg></div>'
    )


def _svg(parts: Sequence[str], rows: int, title: str) -> str:
    width, height = _LABELS + _PLOT + _VALUE, rows * _ROW + 4
    return (
        f'<div class="wide"><svg role="img" aria-label="{escape(title, quote=True)}" '
        f'viewBox="0 0 {width} {height}" width="{width}">'
        f"{''.join(parts)}</svg></div>"
    )


def _label(text: str, y: float) -> str:
    shown = text if len(text) <= 48 else f"{text[:47]}…"
    return f'<text x="{_LABELS - 8}" y="{y + 15}" text-anchor="end">{escape(shown)}</text>'


def _value(text: str, y: float) -> str:
    return f'<text x="{_LABELS + _PLOT + 8}" y="{y + 15}">{escape(text)}</text>'


def _whisker(low: float, high: float, *, y: float) -> str:
    ends = "".join(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + 4}"/>' for x in (low, high))
    return f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>{ends}'
