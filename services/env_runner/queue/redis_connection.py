"""The connection to Redis, and the one place where its errors are translated to ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from waymark.errors import InvalidInput, JobStoreFull, JobStoreUnavailable, RecordDamaged, WaymarkError
from waymark.redis_address import RedisAddress, parse

_UNREADABLE = re.compile(r"user_script|not an integer|not a (valid )?float|would overflow")
"""What Redis says where the content of a record cannot be used, or a script of ours stumbles over it."""
_CODE = re.compile(r"[A-Z]{2,} ")
"""Begins an error that concerns the server, such as `NOREPLICAS`."""
_SOCKET_SECONDS = 5.0
"""Seconds that Redis may take to answer."""


class Connection:
    """Clients of one Redis, for text and for bytes."""

    def __init__(self, url: str | RedisAddress) -> None:
        address = parse(url) if isinstance(url, str) else url
        self._where = address.shown
        # One more attempt, for a connection that a restarted Redis has closed. Longer waiting is left to the caller. A
        # Redis that does not answer is not asked again, because all callers would wait for it twice.
        once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        options = {"protocol": 2, "socket_timeout": _SOCKET_SECONDS, "retry": once_more}
        options |= address.credentials
        # Bytes that are not text must break only the record that holds them, not the whole answer.
        text = {"decode_responses": True, "encoding_errors": "replace"}
        try:
            self._redis: Any = redis.Redis.from_url(address.url, **text, **options)
            self._bytes: Any = redis.Redis.from_url(address.url, **options)
            pool = self._bytes.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # an unknown option is noticed here, not at the first call
        except (ValueError, TypeError):
            # Their messages may quote the query, which may hold a secret.
            raise InvalidInput(
                f"The options after `?` in the Redis address {self._where} are not supported.",
                remedy="Set WAYMARK_REDIS_URL to redis://host:port/0 without them.",
                field="WAYMARK_REDIS_URL",
            ) from None

    def ping(self) -> None:
        """Return if Redis answers."""
        with self._translated_errors():
            self._redis.ping()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        self._bytes.close()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Translate what redis raises, once."""
        try:
            yield
        except redis.RedisError as error:
            raise self._failure(error) from error

    def _failure(self, error: redis.RedisError) -> WaymarkError:
        """What an error of Redis means: it is away, it is full, or a key holds something else than it should."""
        text = str(error).rstrip(".")
        if "WRONGTYPE" in text:
            return RecordDamaged(
                f"A key of Waymark in Redis at {self._where} is of the wrong type: {text}.",
                remedy="Delete or rename the key that something else has written.",
            )
        if text.startswith("MISCONF"):
            return JobStoreFull(
                f"Redis at {self._where} cannot write to its disk: {text}.",
                remedy="Free space on the disk that holds Redis' data; what it has accepted stays in its memory.",
            )
        if isinstance(error, redis.OutOfMemoryError):
            return JobStoreFull(
                f"Redis at {self._where} is full: {text}.", remedy="Raise its maxmemory, or delete old evaluations."
            )
        if type(error) is redis.ResponseError and not _CODE.match(text) and _UNREADABLE.search(text):
            return RecordDamaged(
                f"A record of Waymark in Redis at {self._where} cannot be used: {text}.",
                remedy="Something else has written it: give Waymark a Redis database of its own.",
            )
        return JobStoreUnavailable(
            f"Redis at {self._where} failed: {text}.", remedy="Start Redis, or set WAYMARK_REDIS_URL."
        )
