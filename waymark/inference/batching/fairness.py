"""Fair shares of a model among callers: who has had the least of its time goes next.

The virtual token counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024), algorithm 2, with
seconds of the model instead of tokens: reading one candidate takes longer a token than a full batch. Each flow is
charged for what it is served; a flow that comes anew starts at the least counter of those that wait, so that nobody
saves up time while asking nothing, and nobody starves. A flow is what one caller asks of one class of cost:
light requests do not wait behind heavy ones of the same caller.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

HEAVY_WEIGHT = 4
"""A second of heavy work is charged as so many: beside light work that fills the model, heavy work gets a fifth."""
HEAVY_PART = 4
"""What is submitted together and costs more than this part of a batch's tokens is heavy, and waits in a queue apart.
Batches of heavy work are no larger than that part while there is light work."""
RECENTLY_SECONDS = 1.0
"""How long light work is expected to come again."""
_REMEMBERED = 1_024
"""Flows that wait for nothing whose counters are kept, since they may be back at once."""


class Flow(NamedTuple):
    """One caller's requests of one class of cost."""

    caller: str
    heavy: bool = False


class Shares:
    """The counters of all flows. Not thread-safe."""

    def __init__(self) -> None:
        self._served: dict[Flow, float] = {}
        self._last = 0.0
        """The counter of the flow that was charged last."""

    def next(self, waiting: Collection[Flow]) -> Flow:
        """Which of these flows is served next; of equal ones the first. `waiting` is not empty."""
        floor = min((self._served[flow] for flow in waiting if flow in self._served), default=self._last)
        for flow in waiting:
            self._served[flow] = max(floor, self._served.get(flow, floor))
        chosen = min(waiting, key=self._served.__getitem__)
        if len(self._served) > len(waiting):
            self._forget(waiting, self._served[chosen])
        return chosen

    def charge(self, flow: Flow, cost: float) -> None:
        """So much was done for a flow."""
        self._last = self._served.get(flow, 0.0) + cost * (HEAVY_WEIGHT if flow.heavy else 1)
        self._served[flow] = self._last

    def _forget(self, waiting: Collection[Flow], floor: float) -> None:
        """Drop flows that wait for nothing and have no more than those that do; and the oldest of too many."""
        idle = [flow for flow in self._served if flow not in waiting]
        for place, flow in enumerate(idle):
            if self._served[flow] <= floor or place < len(idle) - _REMEMBERED:
                del self._served[flow]
