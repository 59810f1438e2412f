"""Sessions of play along in Redis: requests and decisions from the app, views from the worker.

    waymark:play:open            sorted set: the sessions that are open, by when they were expected to end
    waymark:play:waiting         list: sessions that no worker has taken yet
    waymark:play:{id}            the view, as JSON
    waymark:play:{id}:request    what was asked for
    waymark:play:{id}:decisions  list: what the person decided and no worker has read yet

A session ends when its time is over by the monotonic clock of a process that watches it: the app, or the worker that
plays it. Neither the clocks of two machines nor a clock that is set matter. The keys of a session expire once it has
ended. The app ends the sessions of workers that died, so they leave nothing behind.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from services.env_runner.queue.records import read
from services.env_runner.queue.redis_connection import Connection
from waymark.errors import NotFound, QueueFull, RecordDamaged
from waymark.evaluation.play_along import PlayRequest, PlayTurn, PlayView
from waymark.redis_address import RedisAddress

_OPEN: Final = "waymark:play:open"
_WAITING: Final = "waymark:play:waiting"
_SESSION: Final = "waymark:play:"
_MOST_DECISIONS: Final = 4
"""Largest number of unread decisions; a person waits for the answer to each."""
KEEP_SECONDS: Final = 3_600
"""Seconds for which the view of an ended session can be read."""


class PlayQueue(Connection):
    """Sessions in one Redis. Every method may raise JobStoreUnavailable, RecordDamaged."""

    def __init__(self, url: str | RedisAddress, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(url)
        self._clock = clock
        self._ends: dict[str, float] = {}
        """When the time of each open session is over, on the clock of this process."""

    def begin(self, view: PlayView, request: PlayRequest, *, most: int, seconds: float) -> None:
        """Open a session. Raises QueueFull when `most` are open."""
        key = _SESSION + view.id
        self._close_expired()
        self._ends[view.id] = self._clock() + seconds
        with self._translated_errors():
            self._redis.zadd(_OPEN, {view.id: time.time() + seconds})
            if self._redis.zcard(_OPEN) > most:
                self._redis.zrem(_OPEN, view.id)
                del self._ends[view.id]
                raise QueueFull(
                    f"{most} sessions of play along are open, which is the limit.",
                    remedy="End one, or wait until one has timed out.",
                )
            view = view.model_copy(update={"seconds_left": math.ceil(seconds)})
            self._redis.set(f"{key}:request", request.model_dump_json())
            self._redis.set(key, view.model_dump_json())
            self._redis.rpush(_WAITING, view.id)

    def take(self, wait_seconds: float) -> tuple[PlayView, PlayRequest] | None:
        """The next session that nobody plays; None after waiting. Those that have ended are skipped."""
        with self._translated_errors():
            taken = self._redis.blpop([_WAITING], timeout=wait_seconds)
            if taken is None or self._redis.zscore(_OPEN, taken[1]) is None:
                return None
            session = taken[1]
            view, request = self._redis.mget(_SESSION + session, f"{_SESSION}{session}:request")
        try:
            return read(PlayView, view, f"the session {session}"), read(PlayRequest, request, f"the session {session}")
        except RecordDamaged:
            self.close_session(session)
            raise

    def look(self, session: str) -> PlayView:
        """The view of a session. Raises NotFound."""
        with self._translated_errors():
            text = self._redis.get(_SESSION + session)
            is_open = self._redis.zscore(_OPEN, session) is not None
        if text is None:
            raise NotFound(f"No session {session!r}.", remedy="It may have timed out; begin a new one.")
        view = read(PlayView, text, f"the session {session}")
        if view.state == "ended":
            return view
        left = self._seconds_left(view) if is_open else 0.0
        if left <= 0:
            if is_open:
                self.close_session(session)
            return view.model_copy(
                update={"state": "ended", "problem": view.problem or "The session has timed out.", "seconds_left": 0}
            )
        return view.model_copy(update={"seconds_left": int(left)})

    def _seconds_left(self, view: PlayView) -> float:
        """The rest of a session's time. A process that has not seen it before starts from what its view says."""
        now = self._clock()
        return self._ends.setdefault(view.id, now + view.seconds_left) - now

    def _close_expired(self) -> None:
        """End the sessions whose time is over or whose view is gone, those of workers that died among them."""
        with self._translated_errors():
            sessions = self._redis.zrange(_OPEN, 0, -1)
        for session in sessions:
            try:
                self.look(session)
            except NotFound:
                if self._ends.get(session, 0.0) <= self._clock():  # else it is just being opened
                    self.close_session(session)
            except RecordDamaged:
                self.close_session(session)
        now = self._clock()
        for over in [session for session, end in list(self._ends.items()) if end <= now]:
            self._ends.pop(over, None)

    def show(self, view: PlayView) -> None:
        """Replace the view of a session."""
        left = max(0, int(self._seconds_left(view)))
        view = view.model_copy(update={"seconds_left": left})
        with self._translated_errors():
            self._redis.set(_SESSION + view.id, view.model_dump_json(), keepttl=True)

    def decide(self, session: str, decision: PlayTurn | None) -> None:
        """Send a decision; None ends the session. Raises NotFound, QueueFull."""
        view = self.look(session)
        if view.state == "ended":
            raise NotFound(f"The session {session!r} has ended.", remedy="Begin a new one.")
        key = f"{_SESSION}{session}:decisions"
        with self._translated_errors():
            if decision is not None and self._redis.llen(key) >= _MOST_DECISIONS:
                raise QueueFull("The session has not yet carried out earlier decisions.", remedy="Wait a moment.")
            self._redis.rpush(key, "" if decision is None else decision.model_dump_json())
            self._redis.expire(key, KEEP_SECONDS)

    def next_decision(self, session: str, wait_seconds: float) -> PlayTurn | None:
        """The person's next decision; None: end the session. Raises TimeoutError after waiting."""
        with self._translated_errors():
            taken = self._redis.blpop([f"{_SESSION}{session}:decisions"], timeout=wait_seconds)
        if taken is None:
            raise TimeoutError
        return read(PlayTurn, taken[1], "a decision") if taken[1] else None

    def close_session(self, session: str) -> None:
        """Remove a session that has ended from the open ones; its keys expire."""
        self._ends.pop(session, None)
        key = _SESSION + session
        with self._translated_errors(), self._redis.pipeline(transaction=False) as batch:
            batch.zrem(_OPEN, session)
            for name in (key, f"{key}:request", f"{key}:decisions"):
                batch.expire(name, KEEP_SECONDS)
            batch.lrem(_WAITING, 0, session)
            batch.execute()
