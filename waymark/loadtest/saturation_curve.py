"""The saturation curve as a picture: throughput and latency over the load. The only import of matplotlib."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from waymark.command_hints import install
from waymark.errors import InvalidInput
from waymark.loadtest.load_report import PATIENCE_MS, PERCENTILES, LoadReport, Stage

_SUFFIXES = (".png", ".svg")
_SHADES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")
"""Shades of the percentiles; higher ones are darker."""


def check(path: Path) -> None:
    """Raise InvalidInput where no picture could be drawn; asked before a test, not after it."""
    if path.suffix not in _SUFFIXES:
        raise InvalidInput(
            f"No plot can be written as {path.name!r}.", remedy="Name a .png or .svg file.", field="plot"
        )
    if not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent}.", remedy="Make it first.", field="plot")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InvalidInput(f"{path} cannot be written.", remedy="Name a file that you may write to.", field="plot")
    if not path.exists():
        try:
            # Permissions do not say everything: /proc takes no file even from root, and a disk can be full.
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be written: {error.strerror}.", remedy="Name a file in another folder.", field="plot"
            ) from error
    if find_spec("matplotlib") is None:
        raise InvalidInput(
            "Plots need matplotlib, which is not installed.",
            remedy=f"Run `{install('plot')}`, or leave out --plot.",
            field="plot",
        )


def draw(report: LoadReport, path: Path) -> None:
    """The open-loop stages over their rate, or where there are none the closed-loop ones over their concurrency."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    opened = [stage for stage in report.stages if stage.loop == "open"]
    stages = sorted(opened or report.stages, key=_load)
    loads = [_load(stage) for stage in stages]
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    if opened:
        above.plot(loads, loads, ":", color="grey", label="asked for")
    above.plot(loads, [stage.throughput for stage in stages], "o-", color="tab:blue", label="answered")
    above.plot(
        loads, [stage.goodput for stage in stages], "x-", color="tab:green", label=f"within {PATIENCE_MS / 1000:g} s"
    )
    refused = [sum(stage.refused.values()) / (stage.seconds or 1) for stage in stages]
    above.plot(loads, refused, "s--", color="tab:orange", label="refused")
    above.set_ylabel("requests a second")
    above.set_ylim(bottom=0)
    for shade, (name, label) in reversed(list(zip(_SHADES, PERCENTILES.items(), strict=True))):
        below.plot(loads, [getattr(stage.latency_ms, name) for stage in stages], "o-", color=shade, label=label)
    if any(refused):
        slow = [stage.refused_ms.p99 for stage in stages]
        below.plot(loads, slow, "s--", color="tab:orange", label="refusals, p99")
    below.set_yscale("log")
    below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    below.set_ylabel("latency, ms")
    below.set_xlabel("requests due a second" if opened else "requests under way at once")
    if not opened:  # callers are doubled rather than added, and there are no halves of them
        below.set_xscale("log", base=2)
        below.set_xticks(loads)
        below.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.align_ylabels()
    target = report.target
    named = dict.fromkeys(part for part in (target.service, target.checkpoint, target.engine, report.machine) if part)
    above.set_title(" · ".join(named), fontsize="medium", loc="left")
    # Text stays text, and nothing tells one drawing of a report from another: small files, small differences.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "waymark"}):
        figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)


def _load(stage: Stage) -> float:
    return stage.rate if stage.rate is not None else float(stage.concurrency or 0)
