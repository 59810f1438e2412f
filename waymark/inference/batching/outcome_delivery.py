"""Delivery of outcomes from a model's threads to the event loop that waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from waymark.errors import DeadlineExceeded, EngineUnavailable, ServiceError, ServiceUnavailable
from waymark.inference.batching.queries import Answer
from waymark.inference.batching.tickets import Ticket

NOT_THE_WORK = (ServiceError, EngineUnavailable)
"""Errors of an engine that is gone: it would fail at each single request as it does at the batch."""


def settle_soon(outcomes: Sequence[tuple[Ticket, Answer | Exception]], *, spread_seconds: float = 0.0) -> None:
    """Deliver outcomes to the event loop that waits for them; outcomes of callers that have gone are dropped.

    For `spread_seconds` one is delivered in each round of the event loop, then the rest at once. Between rounds the
    loop reads new requests, so a refusal does not wait until all answers of a batch are sent. But if refusals fill each
    round, an answer does not wait for many rounds. See docs/decisions/0322.
    """
    if outcomes:
        with suppress(RuntimeError):  # the loop is closed, nobody waits
            until = time.monotonic() + spread_seconds
            outcomes[0][0].future.get_loop().call_soon_threadsafe(_settle, outcomes, until)


def _settle(outcomes: Sequence[tuple[Ticket, Answer | Exception]], until: float) -> None:
    at_once = 1 if time.monotonic() < until else len(outcomes)
    if len(outcomes) > at_once:
        asyncio.get_running_loop().call_soon(_settle, outcomes[at_once:], until)
    for ticket, outcome in outcomes[:at_once]:
        if ticket.future.done():
            continue
        if isinstance(outcome, Exception):
            ticket.future.set_exception(outcome)
        else:
            ticket.future.set_result(outcome)


def too_late(within: float | None) -> DeadlineExceeded:
    """The error for a request without an answer after so many seconds."""
    limit = "" if within is None else f" of {within * 1000:.0f} ms"
    return DeadlineExceeded(
        f"No answer within the deadline{limit}.", remedy="Allow more time, or send fewer requests at once."
    )


def closing() -> ServiceUnavailable:
    """The error for requests while the service ends."""
    return ServiceUnavailable("The service is shutting down.", remedy="Send the request again.")
