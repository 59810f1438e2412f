"""The saturation curve as a picture: throughput and latency over the load. The only import of matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from waymark.errors import InvalidInput
from waymark.loadtest.results import PERCENTILES, LoadReport, Stage

_SUFFIXES = (".png", ".svg")


def check(path: Path) -> None:
    """Raise InvalidInput where no picture could be drawn; asked before a test, not after it."""
    if path.suffix not in _SUFFIXES:
        raise InvalidInput(f"No picture of kind {path.name!r}.", remedy="Name a .png or .svg file.", field="plot")
    if not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent}.", remedy="Make it first.", field="plot")
    if find_spec("matplotlib") is None:
        raise InvalidInput(
            "Plots need matplotlib, which is not installed.",
            remedy="Run `pip install 'waymark[plot]'`, or leave --plot away.",
            field="plot",
        )


def draw(report: LoadReport, path: Path) -> None:
    """The open-loop stages over their rate, or where there are none the closed-loop ones over their concurrency."""
    from matplotlib.figure import Figure

    opened = [stage for stage in report.stages if stage.loop == "open"]
    stages = sorted(opened or report.stages, key=_load)
    loads = [_load(stage) for stage in stages]
    figure = Figure(figsize=(7, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(loads, [stage.throughput for stage in stages], "o-", label="answered")
    above.plot(loads, [sum(stage.refused.values()) / (stage.seconds or 1) for stage in stages], "s--", label="refused")
    if opened:
        above.plot(loads, loads, ":", color="grey", label="asked for")
    above.set_ylabel("requests a second")
    for name, label in PERCENTILES.items():
        below.plot(loads, [getattr(stage.latency_ms, name) for stage in stages], "o-", label=label)
    below.set_yscale("log")
    below.set_ylabel("latency of answers, ms")
    below.set_xlabel("requests due a second" if opened else "requests under way at once")
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    target = report.target
    above.set_title(" · ".join(part for part in (target.service, target.checkpoint, target.engine) if part))
    figure.savefig(path, dpi=120)


def _load(stage: Stage) -> float:
    return stage.rate if stage.rate is not None else float(stage.concurrency or 0)
