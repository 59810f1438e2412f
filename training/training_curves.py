"""Draws the curves of a run from its metrics.jsonl."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def draw(metrics: Path, path: Path, title: str) -> None:
    """Draw training and dev loss over the steps, and below them exact match with its baseline, to a PNG or SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows: list[dict[str, Any]] = []
    for line in metrics.read_text().splitlines() if metrics.exists() else ():
        with suppress(ValueError):  # a kill may have cut the last one off
            rows.append(json.loads(line))
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, names in (
        (above, {"loss": "train loss", "dev_loss": "dev loss"}),
        (below, {"dev_exact_match": "exact match", "dev_majority": "most frequent answer"}),
    ):
        for name, label in names.items():
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points, strict=True), ":" if name == "dev_majority" else ".-", label=label)
        axes.grid(visible=True, alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small", frameon=False)
    above.set_ylabel("nats a token")
    below.set_ylabel("share of dev answers")
    below.set_ylim(0, 1)
    below.set_xlabel("step")
    above.set_title(title, fontsize="medium", loc="left")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "waymark"}):
        figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)
