"""A lease on one episode, and the event of a committed result."""

from __future__ import annotations

from dataclasses import dataclass

from waymark.contracts import EpisodeResult, EpisodeSpec

MAX_DELIVERIES = 3
"""An episode that was delivered more often goes to the dead-letter stream and is reported as errored."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to play one episode. Without renewal another worker may take it."""

    entry: str
    """Id of the stream entry."""
    consumer: str
    """The name of the worker process that holds it."""
    deliveries: int
    """Number of deliveries of the episode, including this one."""
    spec: EpisodeSpec

    @property
    def last(self) -> bool:
        """Whether this is the last delivery. Then the episode is played alone, because it may be the one that kills
        workers.
        """
        return self.deliveries == MAX_DELIVERIES

    @property
    def exhausted(self) -> bool:
        """Whether it was delivered too often without a result. Then bury it instead of playing it."""
        return self.deliveries > MAX_DELIVERIES


@dataclass(frozen=True, slots=True)
class Event:
    """One committed result, light, with the cursor from which to read on."""

    evaluation: str
    cursor: str
    result: EpisodeResult
