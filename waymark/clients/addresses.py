"""Addresses that may hold a secret, and how they are shown.

A user, a password, a query or a fragment of a URL never stands in an error, a log or `/info`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_SCHEME: Final = re.compile(r"(?<!\s)\s*+([A-Za-z][A-Za-z0-9+.-]{0,19})://")
_AUTHORITY: Final = re.compile(r"([^/?#]*)([/?#]?)(.*)", re.DOTALL)


def shown(url: str) -> str:
    """A URL as it may be printed: without user, password, query and fragment, whatever characters these hold."""
    scheme = _SCHEME.match(url)
    prefix = f"{scheme[1]}://" if scheme else ""
    authority, end, rest = _AUTHORITY.match(url[scheme.end() :] if scheme else url).groups()  # type: ignore[union-attr]
    if "@" in rest:  # it may be the end of a password that holds `/`, `?` or `#`
        return prefix + "…"
    path = "" if end != "/" else "/" + re.split(r"[?#]", rest, maxsplit=1)[0]
    return (prefix + authority.rpartition("@")[2] + path).rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
