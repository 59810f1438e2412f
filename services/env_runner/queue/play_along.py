"""Sessions of play along in Redis: requests and decisions from the app, views from the worker.

    waymark:play:open            sorted set: the sessions that are open, by when they expire at the latest
    waymark:play:waiting         list: sessions that no worker has taken yet
    waymark:play:{id}            the view, as JSON
    waymark:play:{id}:request    what was asked for
    waymark:play:{id}:decisions  list: what the person decided and no worker has read yet

Every key expires, so a worker that dies leaves nothing behind.
"""

from __future__ import annotations

import time
from typing import Final

from services.env_runner.queue.records import read
from services.env_runner.queue.redis_connection import Connection
from services.env_runner.redis_address import RedisAddress
from waymark.errors import NotFound, QueueFull
from waymark.evaluation.play_along import PlayRequest, PlayTurn, PlayView

_OPEN: Final = "waymark:play:open"
_WAITING: Final = "waymark:play:waiting"
_SESSION: Final = "waymark:play:"
_MOST_DECISIONS: Final = 4
"""Largest number of unread decisions; a person waits for the answer to each."""
KEEP_SECONDS: Final = 3_600
"""Seconds for which the view of an ended session can be read."""


class PlayQueue(Connection):
    """Sessions in one Redis. Every method may raise JobStoreUnavailable."""

    def __init__(self, url: str | RedisAddress) -> None:
        super().__init__(url)

    def begin(self, view: PlayView, request: PlayRequest, *, most: int, seconds: float) -> None:
        """Open a session. Raises QueueFull when `most` are open."""
        now = time.time()
        key = _SESSION + view.id
        with self._translated_errors():
            self._redis.zremrangebyscore(_OPEN, "-inf", now)
            self._redis.zadd(_OPEN, {view.id: now + seconds})
            if self._redis.zcard(_OPEN) > most:
                self._redis.zrem(_OPEN, view.id)
                raise QueueFull(
                    f"{most} sessions of play along are open, which is the limit.",
                    remedy="End one, or wait until one has timed out.",
                )
            life = int(seconds) + KEEP_SECONDS
            self._redis.set(f"{key}:request", request.model_dump_json(), ex=life)
            self._redis.set(key, view.model_dump_json(), ex=life)
            self._redis.rpush(_WAITING, view.id)
            self._redis.expire(_WAITING, life)

    def take(self, wait_seconds: float) -> tuple[PlayView, PlayRequest] | None:
        """The next session that nobody plays; None after waiting. Those that have expired are skipped."""
        with self._translated_errors():
            taken = self._redis.blpop([_WAITING], timeout=wait_seconds)
            expires = None if taken is None else self._redis.zscore(_OPEN, taken[1])
            if expires is None or expires < time.time():
                return None
            view, request = self._redis.mget(_SESSION + taken[1], f"{_SESSION}{taken[1]}:request")
        if view is None or request is None:
            return None
        return read(PlayView, view, "a session"), read(PlayRequest, request, "a session")

    def look(self, session: str) -> PlayView:
        """The view of a session. Raises NotFound."""
        with self._translated_errors():
            text = self._redis.get(_SESSION + session)
            expires = self._redis.zscore(_OPEN, session)
        if text is None:
            raise NotFound(f"No session {session!r}.", remedy="It may have timed out; begin a new one.")
        view = read(PlayView, text, f"the session {session}")
        if view.state == "ended":
            return view
        if expires is None or expires < time.time():
            return view.model_copy(update={"state": "ended", "problem": view.problem or "The session has timed out."})
        return view.model_copy(update={"seconds_left": int(expires - time.time())})

    def show(self, view: PlayView) -> None:
        """Replace the view of a session."""
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
        """Remove a session that has ended from the open ones."""
        with self._translated_errors():
            self._redis.zrem(_OPEN, session)
