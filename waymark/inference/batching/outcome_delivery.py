"""Delivery of outcomes from a model's threads to the event loop that waits for them."""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from contextlib import suppress

from waymark.errors import DeadlineExceeded, EngineUnavailable, ServiceError, ServiceUnavailable
from waymark.inference.batching.queries import Answer
from waymark.inference.batching.tickets import Ticket

NOT_THE_WORK = (ServiceError, EngineUnavailable)
"""Errors of an engine that is gone: it would fail at each single request as it does at the batch."""


def settle_soon(
    outcomes: Sequence[tuple[Ticket, Answer | Exception]],
    *,
    spread_seconds: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Deliver outcomes to the event loop that waits for them; outcomes of callers that have gone are dropped.

    With `spread_seconds` each round of the event loop delivers one, or more where needed to deliver all of them evenly
    within that time from the first round on. Between rounds the loop reads new requests, so a refusal does not wait
    until all answers of a batch are sent. But if refusals fill each round, an answer does not wait for many rounds. The
    earliest deadline goes first, and what would expire within that time does not wait. See docs/decisions/0322.
    """
    if outcomes:
        with suppress(RuntimeError):  # the loop is closed, nobody waits
            outcomes[0][0].future.get_loop().call_soon_threadsafe(_Delivery(outcomes, spread_seconds, clock).go_on)


class _Delivery:
    """Delivers outcomes on the event loop."""

    def __init__(
        self, outcomes: Sequence[tuple[Ticket, Answer | Exception]], seconds: float, clock: Callable[[], float]
    ) -> None:
        self._outcomes = sorted(outcomes, key=_expires)
        self._seconds = seconds
        self._clock = clock
        self._began: float | None = None
        self._delivered = 0

    def go_on(self) -> None:
        """Deliver what this round should deliver, and the rest in the next rounds."""
        first, total = self._delivered, len(self._outcomes)
        self._delivered = min(total, max(first + 1, self._due(total)))
        if self._delivered < total:
            asyncio.get_running_loop().call_soon(self.go_on)
        for ticket, outcome in self._outcomes[first : self._delivered]:
            if ticket.future.done():
                continue
            if isinstance(outcome, Exception):
                ticket.future.set_exception(outcome)
            else:
                ticket.future.set_result(outcome)

    def _due(self, total: int) -> int:
        """How many should be delivered by now."""
        if not self._seconds:
            return total
        now = self._clock()
        if self._began is None:
            self._began = now
        urgent = bisect(self._outcomes, now + self._seconds, key=_expires)
        return max(urgent, math.ceil(total * (now - self._began) / self._seconds))


def _expires(outcome: tuple[Ticket, Answer | Exception]) -> float:
    return outcome[0].expires


def too_late(within: float | None) -> DeadlineExceeded:
    """The error for a request without an answer after so many seconds."""
    limit = "" if within is None else f" of {within * 1000:.0f} ms"
    return DeadlineExceeded(
        f"No answer within the deadline{limit}.", remedy="Allow more time, or send fewer requests at once."
    )


def closing() -> ServiceUnavailable:
    """The error for requests while the service ends."""
    return ServiceUnavailable("The service is shutting down.", remedy="Send the request again.")
