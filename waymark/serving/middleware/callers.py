"""Who asks: what a model's fair shares are for. Set once for each request, before anything else looks at it."""

from __future__ import annotations

import hashlib
import ipaddress
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_caller: ContextVar[str] = ContextVar("caller", default="")
_IPV6_NETWORK = 64
"""Bits of an IPv6 address that name a network: whoever has one has all addresses in it."""


def caller() -> str:
    """The caller of the request that is being answered: a hash of its API key, else its address; empty if unknown."""
    return _caller.get()


class IdentifyCaller:
    """Middleware that says who asks. Keys count where the service asks for them, since others could be made up."""

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
