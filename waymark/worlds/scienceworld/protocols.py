"""The evaluation protocols of ScienceWorld, by name. Which figures may be compared is in docs/results.md."""

from __future__ import annotations

from typing import Final

from waymark.worlds.base import Protocol

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (
        Protocol("quick", "dev", 1, 100, None, "First dev variation of each task, 100 moves", earlier_split="test"),
        Protocol("dev", "dev", 5, 100, None, "First 5 dev variations of each task, 100 moves"),
        Protocol("seed", "test", 10, 100, 50, "First 10 test variations of each task, 100 moves, as published"),
        Protocol("swiftsage", "test", 10, 300, None, "First 10 test variations of each task, 300 moves"),
        Protocol("full", "test", None, 100, None, "All 1,819 test variations, 100 moves"),
    )
}
