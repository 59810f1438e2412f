"""Bearer keys: who may ask. One place for every service.

Keys come from WAYMARK_API_KEYS (several between commas) and WAYMARK_API_KEYS_FILE (one a line, `#` begins a comment);
a file that changes is read again. Without either nobody is asked for a key. Health routes never ask, nor do the paths
that a service names as open, which hold nothing of anybody's.
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
from waymark.serving.settings import ListenSettings

_CHECK_SECONDS = 1.0
"""How often the file is looked at."""
_EXEMPT = ("/health", "/health/live", "/health/ready")
_log = logging.getLogger("waymark")


class Keys:
    """The keys of a service. Only their hashes are kept, so that all have one length to be compared in."""

    def __init__(
        self, keys: Iterable[str] = (), file: Path | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises InvalidInput when the file cannot be read or names no key."""
        self._given = [_digest(key) for key in keys]
        self._file = file
        self._changed: tuple[int, int] | None = None
        """When the file was written last, and its size: two changes within one tick of its clock differ in that."""
        self._clock = clock
        self._looked = clock()
        self._from_file = [] if file is None else self._read(file)

    def accept(self, key: str) -> bool:
        """Whether it is one of the keys, in a time that does not tell which, or how nearly."""
        self._look_again()
        asked = _digest(key)
        matches = [secrets.compare_digest(asked, known) for known in (*self._given, *self._from_file)]
        return any(matches)

    def _look_again(self) -> None:
        """Read the file again if it has changed. A file that is gone or empty changes nothing: that is a mistake."""
        now = self._clock()
        if self._file is None or now - self._looked < _CHECK_SECONDS:
            return
        self._looked = now
        try:
            if _version(self._file) != self._changed:
                self._from_file = self._read(self._file)
        except (OSError, InvalidInput) as error:
            _log.error("The keys stay as they are: %s", error)

    def _read(self, file: Path) -> list[bytes]:
        try:
            self._changed = _version(file)
            lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
        except OSError as error:
            raise InvalidInput(
                f"Cannot read the keys in {file}: {error.strerror or error}.", field="WAYMARK_API_KEYS_FILE"
            ) from error
        keys = [_digest(line) for line in lines if line]
        if not keys:
            raise InvalidInput(
                f"There is no key in {file}.", remedy="Write one on each line.", field="WAYMARK_API_KEYS_FILE"
            )
        return keys


def open_keys(settings: ListenSettings) -> Keys | None:
    """The keys that settings name; None when they name none. Raises InvalidInput."""
    if not settings.asks_for_key:
        return None
    given = settings.api_keys.get_secret_value().split(",")
    return Keys((key.strip() for key in given if key.strip()), settings.api_keys_file)


class RequireKey:
    """Middleware that raises Unauthorized at whoever shows no key, before the body is read."""

    def __init__(self, app: ASGIApp, keys: Keys, open_paths: Collection[str] = ()) -> None:
        self._app = app
        self._keys = keys
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - as ASGI has it
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._keys.accept(key.strip()):
                raise Unauthorized(
                    "This service wants a key, and this is none of its own.",
                    remedy="Send `Authorization: Bearer KEY`; the clients of this package take WAYMARK_API_KEY.",
                )
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path in _EXEMPT


def _version(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
