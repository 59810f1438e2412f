"""Refuses a request before its body is read, if the service says that it has no room for it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send


class EarlyRefusal:
    """Asks whether there is room for a request before its body is read, so that a refusal costs little."""

    def __init__(self, app: ASGIApp, paths: Collection[str], admit: Callable[[], None]) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless `admit` raises."""
        if scope["type"] == "http" and scope["path"] in self._paths:
            scope["state"]["route"] = scope["path"]  # `observed_requests` wants to know, and the router is not reached
            self._admit()
        await self._app(scope, receive, send)
