"""What the job store hands out: the right to play an episode, and what was committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waymark.contracts import EpisodeResult, EpisodeSpec

MAX_DELIVERIES: Final = 3
"""An episode delivered more often than this goes to the dead-letter stream and is reported as errored."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to play one episode, until it is lost to another by not being renewed."""

    entry: str
    """Id of the stream entry."""
    consumer: str
    """Who holds it: one name a worker process."""
    deliveries: int
    """How often the episode has been handed out, this time included."""
    spec: EpisodeSpec

    @property
    def last(self) -> bool:
        """It is not handed out again: what plays beside it should not be able to take it down."""
        return self.deliveries == MAX_DELIVERIES

    @property
    def exhausted(self) -> bool:
        """It was handed out too often without a result: bury it instead of playing it."""
        return self.deliveries > MAX_DELIVERIES


@dataclass(frozen=True, slots=True)
class Event:
    """One committed result, light, with the cursor from which to read on."""

    evaluation: str
    cursor: str
    result: EpisodeResult
