"""Places in the queue of a model, and batches of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from waymark.inference import Encoded, Steps
from waymark.inference.batching.fairness import Flow
from waymark.inference.batching.queries import Answer, Query, Work


@dataclass(slots=True)
class Group:
    """Work that was submitted together; the limit on cost applies to all of it."""

    cost: int
    """Its cost as known so far, in tokens."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue."""

    work: Work
    future: asyncio.Future[Answer]
    expires: float
    """On the monotonic clock."""
    cost: int
    """Its cost in tokens, as counted in the queue."""
    flow: Flow
    group: Group
    admitted: float = field(default_factory=time.monotonic)
    query: Query | None = None
    encoded: Encoded | None = None
    tokenise_seconds: float = 0.0

    @property
    def length(self) -> int:
        """Tokens that the model will read for each row."""
        assert self.encoded is not None
        return len(self.encoded.ids)

    @property
    def rows(self) -> int:
        """Number of answers that the model computes at once."""
        assert self.query is not None
        return self.query.rows


def queries_of(batch: Sequence[Ticket]) -> list[Query]:
    """The queries of a batch."""
    return [ticket.query for ticket in batch if ticket.query is not None]


def prompts_of(batch: Sequence[Ticket]) -> list[Encoded]:
    """Its prompts, tokenised."""
    return [ticket.encoded for ticket in batch if ticket.encoded is not None]


@dataclass(slots=True)
class Job:
    """A batch that is scored in steps, between which other work may run."""

    batch: Sequence[Ticket]
    steps: Steps
    flow: Flow
    """The one whose turn it is."""
    started: float
    """On the monotonic clock."""
    seconds: float = 0.0
    """Seconds of the model that it has used so far."""
    is_begun: bool = False
