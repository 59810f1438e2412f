"""Which names a service answers to, against DNS rebinding; and one spelling for every path.

A web page that points its own host name at this machine (DNS rebinding) reaches a service on loopback as if it were of
the same origin. Its requests still carry its own name in `Host` or `Origin`, so a service on loopback that asks for no
key answers to names of this machine alone. `WAYMARK_ALLOWED_HOSTS` adds names, and turns the check on elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from waymark.errors import HostRefused, OriginRefused
from waymark.serving.settings import ListenSettings, is_loopback

_SHOWN: Final = 100


def allowed_hosts(settings: ListenSettings) -> frozenset[str] | None:
    """The names that a service answers to besides those of this machine; None: any name."""
    if settings.allowed_hosts:
        return frozenset(settings.allowed_hosts)
    if is_loopback(settings.host) and not settings.asks_for_key:
        return frozenset()
    return None


class Edge:
    """Middleware that checks `Host` and `Origin`, and takes one slash from a path's end.

    Raises HostRefused and OriginRefused. A path that ends in a slash is the path without it: a redirect would name the
    wrong scheme behind a proxy that ends TLS.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - as ASGI has it
        if scope["type"] == "http":
            path: str = scope["path"]
            if len(path) > 1 and path.endswith("/"):
                scope["path"] = path[:-1]
            if self._hosts is not None:
                self._check(scope, self._hosts)
        await self._app(scope, receive, send)

    @staticmethod
    def _check(scope: Scope, hosts: Collection[str]) -> None:
        sent: list[bytes] = []
        origins: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"host":
                sent.append(value)
            elif name == b"origin":
                origins.append(value)
        local = (scope.get("server") or ("",))[0]
        host = sent[0].decode("latin-1") if len(sent) == 1 else ""
        if not _is_allowed(_name(host), hosts, local):
            raise HostRefused(
                f"This service does not answer to the host name {host[:_SHOWN]!r}.",
                remedy="Address it as localhost, or add the name to WAYMARK_ALLOWED_HOSTS.",
                field="Host",
            )
        for origin in origins:
            text = origin.decode("latin-1")
            if not _is_allowed(_origin_name(text), hosts, local):
                raise OriginRefused(
                    f"Pages of {text[:_SHOWN]!r} may not send requests to this service.",
                    remedy="Add their host name to WAYMARK_ALLOWED_HOSTS.",
                    field="Origin",
                )


def _is_allowed(name: str | None, hosts: Collection[str], local: str) -> bool:
    """Whether a name is of this machine, the address that was connected to, or one of `hosts`."""
    if not name:
        return False
    return name == "localhost" or name in hosts or name.strip("[]") == local or _is_loopback_address(name)


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name[1:-1] if name.startswith("[") else name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str | None:
    """The host name in a `Host` header, lower case and without its port; None for what is none."""
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        name += bracket
    else:
        name, colon, port = host.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and (rest == ":" or rest[1:].isdecimal())):
        return None
    return name.lower().removesuffix(".")


def _origin_name(origin: str) -> str | None:
    """The host name in an `Origin` header; None for `null` and for what is none."""
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in ("http", "https") or urlsplit(origin).path:
        return None
    return _name(authority)
