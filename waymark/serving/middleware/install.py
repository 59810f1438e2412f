"""What stands in front of every service: request ids, host names, keys, admission, limits of bodies, problem documents.

Requests meet them in this order, so that a refusal costs as little as possible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from fastapi import FastAPI

from waymark.serving.middleware.api_keys import Keys, RequireKey
from waymark.serving.middleware.body_limit import BodyLimit
from waymark.serving.middleware.early_refusal import EarlyRefusal
from waymark.serving.middleware.hosts import Edge
from waymark.serving.middleware.problem_documents import add_error_handlers
from waymark.serving.middleware.request_ids import RequestIds


def install_middleware(
    app: FastAPI,
    *,
    max_body_bytes: int = 4_000_000,
    most_values: Mapping[str, int] = MappingProxyType({}),
    hosts: Collection[str] | None = None,
    keys: Keys | None = None,
    open_paths: Collection[str] = (),
    asking: Collection[str] = (),
    admit: Callable[[], None] = lambda: None,
) -> None:
    """Give an app request ids, checks of host names and keys, the bounds on bodies, and problem documents for errors.

    A body has at most `max_body_bytes` bytes, and at most MOST_VALUES values or what `most_values` says for its path.
    The service answers to the names `hosts` (see `hosts.allowed_hosts`). Who asks for one of the `open_paths` needs no
    key. `admit` is called at each request for one of the paths `asking`, before its body is read; what it raises is the
    answer.
    """
    add_error_handlers(app)
    app.add_middleware(BodyLimit, limit=max_body_bytes, most_values=most_values)
    if asking:
        app.add_middleware(EarlyRefusal, paths=asking, admit=admit)
    if keys is not None:
        app.add_middleware(RequireKey, keys=keys, open_paths=open_paths)
    app.router.redirect_slashes = False  # `Edge` leaves nothing to redirect
    app.add_middleware(Edge, hosts=hosts)
    app.add_middleware(RequestIds)
