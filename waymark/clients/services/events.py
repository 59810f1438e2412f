"""Server-sent events of an evaluation: their decoder, and where their reader stands. No input or output.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx

from waymark.clients.answer_limits import LARGEST, MEGABYTE, AnswerRefused
from waymark.clients.services.calls import EVALUATIONS
from waymark.clients.services.retries import Outcome, ServiceProtocol
from waymark.contracts import EpisodeResult, EvaluationStatus

ENDED: Final = frozenset({"finished", "cancelled"})
"""States in which an evaluation's events end."""
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_SHOWN: Final = 60


@dataclass(frozen=True)
class ServerEvent:
    """One event: its name, its data and the last id that the server gave."""

    name: str
    data: str
    id: str


class EventDecoder:
    """Cuts the bytes of a stream into events, however they come in pieces. Raises AnswerRefused for a huge event."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._line = bytearray()
        self._after_return = False
        self._size = 0
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that end in the next piece."""
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_return = piece.endswith(b"\r")
        for index, part in enumerate(_LINE_END.split(piece)):
            if index and (event := self._end_line()) is not None:
                yield event
            self._line += part
            self._size += len(part)
            if self._size > self._largest:
                raise AnswerRefused(f"an event of more than {self._largest // MEGABYTE} MB")

    def _end_line(self) -> ServerEvent | None:
        """Take the finished line in; an empty one ends an event."""
        line = self._line.decode(errors="replace")
        self._line.clear()
        if not line:
            return self._end_event()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _end_event(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", "\n".join(self._data), self._id) if self._data else None
        self._name, self._data, self._size = "", [], 0
        return event


class EventCursor:
    """Where the reader of an evaluation's events stands: what to ask for next, and how long yet."""

    def __init__(self, evaluation_id: str, protocol: ServiceProtocol) -> None:
        self.path = f"{EVALUATIONS}/{evaluation_id}/events"
        self.ended = False
        self._protocol = protocol
        self._last_id = "0"
        self._last_event = time.monotonic()

    def headers(self) -> dict[str, str]:
        """Continue after the last event that was read."""
        return {"last-event-id": self._last_id, "accept": "text/event-stream", "accept-encoding": "identity"}

    def open(self, response: httpx.Response) -> EventDecoder:
        """Read a response's events. Raises AnswerRefused if it holds none, or compressed ones, which have no limit."""
        if encoding := response.headers.get("content-encoding"):
            raise AnswerRefused(f"events compressed as {encoding[:_SHOWN]!r}, which was not asked for")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise AnswerRefused(f"{kind[:_SHOWN]!r} in place of events")
        return EventDecoder()

    def read(self, event: ServerEvent) -> EpisodeResult | EvaluationStatus | None:
        """What an event holds; None for one that only keeps the connection alive. Raises ServiceError."""
        self._last_event = time.monotonic()
        self._last_id = event.id or self._last_id
        if event.name == "episode":
            return self._protocol.read(EpisodeResult, event.data, f"GET {self.path}")
        if event.name != "status":
            return None
        status = self._protocol.read(EvaluationStatus, event.data, f"GET {self.path}")
        self.ended = status.state in ENDED
        return status

    def broke(self, outcome: Outcome) -> None:
        """Return if the connection should be made again. Raises ServiceError."""
        failure = self._protocol.failure(outcome)
        if failure is not None and time.monotonic() > self._last_event + self._protocol.retry_seconds:
            raise failure
