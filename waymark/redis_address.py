"""The address of a Redis. Its password may hold any characters, and is never shown.

A password can be in the URL, literally or percent-encoded, or in a setting of its own, where nothing is decoded. The
URL is parsed here, not by redis, because `urlsplit` ends a host at the first `/`, `?` or `#`, even inside a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from waymark.errors import InvalidInput

_SETTING: Final = "WAYMARK_REDIS_URL"
_SCHEMES: Final = ("redis", "rediss", "unix")
_REMEDY: Final = (
    f"Set {_SETTING} to redis://host:port/0, rediss://… or unix:///path, and the password, if there is one, "
    "to WAYMARK_REDIS_PASSWORD."
)
_HOST: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s/?#@:\[\]]*)(?::(?P<port>\d{1,5}))?(?:/\d*)?(?:[?#].*)?", re.DOTALL
)
_NO_USER: Final = re.compile(r"\A[^\s/?#@:\[\]]*(?::\d{1,5})?(?:/\d*)?\?\w+=")
"""An address whose first `@` is in its query."""


@dataclass(frozen=True)
class RedisAddress:
    """The address of a Redis. `url` has neither user nor password; these are separate fields."""

    url: str = field(repr=False)
    """May hold secrets in its query, so it is not shown."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The address as it may be printed."""
        return re.split(r"[?#]", self.url, maxsplit=1)[0]  # user and password are not in it

    @property
    def credentials(self) -> dict[str, str]:
        """The arguments of `Redis.from_url` besides the URL."""
        arguments = {"username": self.username, "password": self.password}
        return {name: value for name, value in arguments.items() if value}


def parse(url: str, password: str = "") -> RedisAddress:
    """Parse a URL. `password`, taken literally, replaces one in the URL. Raises InvalidInput."""
    scheme, separator, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _SCHEMES:
        raise InvalidInput(
            f"{_SETTING} is no Redis address (it is not shown, since it may hold a password).",
            remedy=_REMEDY,
            field=_SETTING,
        )
    if scheme == "unix":
        user, place = ("", rest) if rest.startswith("/") else _split_socket(rest)
        usable = place.startswith("/") and len(place) > 1
    else:
        user, place = ("", rest) if _NO_USER.match(rest) else _split(rest)
        match = _HOST.fullmatch(place)
        usable = match is not None and int(match["port"] or 0) <= 65_535
    if not usable:
        raise InvalidInput(
            f"{_SETTING} names no {'socket' if scheme == 'unix' else 'host, port and number of a database'} "
            "(it is not shown, since it may hold a password).",
            remedy=_REMEDY,
            field=_SETTING,
        )
    name, _, secret = user.partition(":")
    return RedisAddress(f"{scheme}://{place}", _decoded(name) or None, password or _decoded(secret) or None)


def read_password(password: str, file: Path | None) -> str:
    """The password from its settings: the literal one, or the text of a file without its last line break.

    Raises InvalidInput.
    """
    setting = "WAYMARK_REDIS_PASSWORD_FILE"
    if file is None:
        return password
    if password:
        raise InvalidInput(
            f"WAYMARK_REDIS_PASSWORD and {setting} are both set.", remedy="Set one of them.", field=setting
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or str(error)
        raise InvalidInput(f"Cannot read the password in {file}: {reason}.", field=setting) from error
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise InvalidInput(f"There is no password in {file}.", remedy="Write it on the first line.", field=setting)
    return secret


def _split(rest: str) -> tuple[str, str]:
    """User with password, and the rest. A password may hold `@`: the last one counts."""
    user, _, place = rest.rpartition("@")
    return user, place


def _split_socket(rest: str) -> tuple[str, str]:
    """The same for a socket: its path begins behind an `@`, and may hold more of them."""
    before, _, query = rest.partition("?") if "@/" not in rest.partition("?")[2] else (rest, "", "")
    user, separator, place = before.rpartition("@/")
    return user, (f"/{place}" if separator else "") + (f"?{query}" if query else "")


def _decoded(text: str) -> str:
    """Percent-encoded bytes as what they mean; a `%` that encodes nothing, or no UTF-8, stays."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
