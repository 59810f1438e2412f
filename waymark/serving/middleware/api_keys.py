"""The check of bearer keys, for every service.

Keys come from WAYMARK_API_KEYS (several between commas) and WAYMARK_API_KEYS_FILE (`keys_file` has its form). A file
that changes is read again. If that fails, because the file is deleted, empty or damaged, the keys stay as they are and
the log says so once: an operator's mistake must not lock everybody out. Without either setting no key is needed. Health
routes never need a key. Neither do the paths that a service names as open, which contain nothing private.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from waymark.errors import InvalidInput, Unauthorized
from waymark.serving.middleware.keys_file import SETTING, Version, read_keys, version
from waymark.serving.settings import ListenSettings

_CHECK_SECONDS = 1.0
"""Seconds between two checks of the file."""
_EXEMPT = ("/health", "/health/live", "/health/ready")
_log = logging.getLogger("waymark")


class Keys:
    """The keys of a service. Only their hashes are kept, so that all compared values have the same length."""

    def __init__(
        self, keys: Iterable[str] = (), file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises InvalidInput when the file cannot be read or names no key."""
        self._from_settings = [_digest(key) for key in keys]
        self._file = file
        self._version: Version | None = None
        self._complaint = ""
        """Why the file could not be read again; empty while all is well."""
        self._clock = clock
        self._looked = clock()
        self._from_file = [] if file is None else self._read(file)

    def accept(self, key: str) -> bool:
        """Whether it is one of the keys. The time of the comparison reveals nothing about the keys."""
        self._look_again()
        digest = _digest(key)
        matches = [secrets.compare_digest(digest, known) for known in (*self._from_settings, *self._from_file)]
        return any(matches)

    def _look_again(self) -> None:
        """Read the file again if it has changed. One that cannot be read changes nothing."""
        now = self._clock()
        if self._file is None or now - self._looked < _CHECK_SECONDS:
            return
        self._looked = now
        try:
            if version(self._file) != self._version or self._complaint:
                self._from_file = self._read(self._file)
        except (OSError, InvalidInput) as error:
            reason = f"{self._file}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            if reason != self._complaint:
                _log.error("The API keys stay as they are, since their file cannot be read. %s", reason)
            self._complaint = reason
        else:
            if self._complaint:
                _log.warning("The API keys are read from %s again.", self._file)
            self._complaint = ""

    def _read(self, file: Path) -> list[bytes]:
        try:
            self._version = version(file)  # before its content: a change in between is noticed at the next look
        except OSError as error:
            raise InvalidInput(f"Cannot read the keys in {file}: {error.strerror or error}.", field=SETTING) from error
        return [_digest(key) for key in read_keys(file)]


def open_keys(settings: ListenSettings) -> Keys | None:
    """The keys that settings name; None when they name none. Raises InvalidInput."""
    if not settings.asks_for_key:
        return None
    keys = settings.api_keys.get_secret_value().split(",")
    return Keys((key.strip() for key in keys if key.strip()), settings.api_keys_file)


class RequireKey:
    """Middleware that raises Unauthorized for a request without a valid key, before the body is read."""

    def __init__(self, app: ASGIApp, keys: Keys, open_paths: Collection[str] = ()) -> None:
        self._app = app
        self._keys = keys
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - as ASGI has it
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._keys.accept(_as_sent(key.strip())):
                raise Unauthorized(
                    "This API key is not valid." if key.strip() else "This service asks for an API key.",
                    remedy="Send `Authorization: Bearer KEY`; the clients of this package take WAYMARK_API_KEY.",
                )
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path in _EXEMPT


def _as_sent(header: str) -> str:
    """A header's text as UTF-8, which clients send for a key beyond ASCII; the server reads it as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
