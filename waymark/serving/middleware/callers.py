"""Identifies the caller of a request, for fair shares of a model. Set once for each request, before any other check."""

from __future__ import annotations

import hashlib
import ipaddress
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_caller: ContextVar[str] = ContextVar("caller", default="")
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that identify a network. A caller in a network can use all of its addresses."""


def caller() -> str:
    """The caller of the request that is being answered: a hash of its API key, else its address; empty if unknown."""
    return _caller.get()


class IdentifyCaller:
    """Middleware that identifies the caller. Keys count only if the service requires them, because others could be
    invented.
    """

    def __init__(self, app: ASGIApp, *, by_key: bool) -> None:
        self._app = app
        self._by_key = by_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - as ASGI has it
        if scope["type"] == "http":
            _caller.set(self._name(scope))
        await self._app(scope, receive, send)

    def _name(self, scope: Scope) -> str:
        if self._by_key and (shown := Headers(scope=scope).get("authorization", "")):
            return hashlib.sha256(shown.partition(" ")[2].strip().encode("utf-8", "surrogateescape")).hexdigest()
        host = str((scope.get("client") or ("",))[0])
        if ":" not in host:
            return host
        try:
            return str(ipaddress.ip_network((host.partition("%")[0], _IPV6_NETWORK), strict=False))
        except ValueError:
            return host
