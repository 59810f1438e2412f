"""Fair shares of a model among callers: the caller that has used the least of its time is served next.

The virtual token counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024), algorithm 2, with
seconds of the model instead of tokens: reading one candidate takes longer a token than a full batch. Each flow is
charged for the time that it uses. A new flow starts at the smallest counter of the waiting flows, so a caller cannot
save up time while it is idle, and every flow is served in the end. A flow consists of one caller's requests of one
class of cost, so light requests do not wait behind heavy ones of the same caller.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

HEAVY_WEIGHT = 4
"""A second of heavy work counts as so many seconds. Beside light work that fills the model, heavy work gets a fifth."""
HEAVY_PART = 4
"""Work that is submitted together and costs more than this share of a batch's tokens is heavy, and waits in a queue of
its own. While there is light work, batches of heavy work are no larger than this share."""
RECENTLY_SECONDS = 1.0
"""Seconds for which light work is expected to come again."""
_REMEMBERED = 1_024
"""Number of idle flows whose counters are kept, because they may return soon."""


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

    def next(self, waiting: Collection[Flow], busy: Collection[Flow] = ()) -> Flow:
        """Which of these flows is served next; of equal ones the first. `waiting` is not empty.

        `busy` flows have work in the model, for which they will be charged.
        """
        floor = min((self._served[flow] for flow in waiting if flow in self._served), default=self._last)
        for flow in waiting:
            self._served[flow] = max(floor, self._served.get(flow, floor))
        chosen = min(waiting, key=self._served.__getitem__)
        if len(self._served) > len(waiting):
            self._forget({*waiting, *busy}, self._served[chosen])
        return chosen

    def charge(self, flow: Flow, cost: float) -> None:
        """Charge a flow for work of so many seconds."""
        self._last = self._served.get(flow, 0.0) + cost * (HEAVY_WEIGHT if flow.heavy else 1)
        self._served[flow] = self._last

    def _forget(self, kept: Collection[Flow], floor: float) -> None:
        """Drop idle flows with a counter of at most `floor`, and the oldest ones if there are too many."""
        idle = [flow for flow in self._served if flow not in kept]
        for place, flow in enumerate(idle):
            if self._served[flow] <= floor or place < len(idle) - _REMEMBERED:
                del self._served[flow]
