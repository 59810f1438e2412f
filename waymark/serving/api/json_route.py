"""Routes that are documented like any other and cost little: one pydantic pass in, one out.

FastAPI parses a body to Python, validates it, validates the answer and encodes it again, inside its code for
dependencies. `JsonRoute` passes the body's bytes to pydantic and the answer's bytes to the socket. The OpenAPI page is
derived from the endpoint's signature as usual. An endpoint takes the body's model and a `DeadlineMs`, has no
dependencies, and returns a model or a list of them.

If a caller disconnects, its endpoint is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from fastapi import Header
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waymark.contracts import DEADLINE_HEADER
from waymark.serving.api.validation import InvalidBody, Validator
from waymark.serving.middleware.connections import ON_DISCONNECT
from waymark.serving.middleware.problem_documents import CLIENT_CLOSED_REQUEST
from waymark.serving.printable_text import printable
from waymark.serving.request_limits import too_many_items

_Deadline = Annotated[int, Field(ge=1, le=600_000)]
DeadlineMs = Annotated[
    _Deadline | None, Header(alias=DEADLINE_HEADER, description="Give up with 504 after this many milliseconds.")
]
"""The deadline of a request, in its header."""

_deadlines: Final[TypeAdapter[int]] = TypeAdapter(_Deadline)


class JsonRoute(APIRoute):
    """A route from one JSON body to one JSON answer."""

    most_items: int | None = None
    """How many requests a body that is a list may hold."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matched."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function that FastAPI would call in place of `handle`."""
        return self._answer

    @cached_property
    def _answer(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        hints = get_type_hints(self.endpoint, include_extras=True)
        answers: TypeAdapter[Any] = TypeAdapter(hints.pop("return"))
        kind = next(iter(hints.values()))
        most_items = self.most_items if _is_list(kind) else None
        requests = Validator(kind if most_items is None else Annotated[kind, Field(max_length=most_items)])

        async def answer(request: Request) -> Response:
            deadline_ms = _deadline(request)
            body = _validated(requests, request, await request.body(), most_items)
            try:
                async with CancelledWhenGone(request):
                    answer = await self.endpoint(body, deadline_ms)
            except ClientGone:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            return Response(answers.dump_json(answer), media_type="application/json")

        return answer


def _is_list(kind: Any) -> bool:
    inner = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return get_origin(inner) is Sequence


def listing_at_most(items: int) -> type[JsonRoute]:
    """JsonRoute with a limit on the length of lists; over it the answer is 413."""
    return type("BoundedJsonRoute", (JsonRoute,), {"most_items": items})


class ClientGone(Exception):
    """The caller has disconnected."""


class CancelledWhenGone:
    """A context for the work of a request that was read completely. Raises ClientGone inside it when the client
    disconnects.

    Only our own server reports this (`Connection.on_disconnect`); with another one the work runs to its end.
    """

    def __init__(self, request: Request) -> None:
        offered: Mapping[str, Any] = (request.scope.get("extensions") or {}).get(ON_DISCONNECT, {})
        self._on_disconnect: Callable[[Callable[[], object] | None], None] | None = offered.get("call")
        self._gone = False
        self._task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        if self._on_disconnect is not None:
            self._task = asyncio.current_task()
            self._on_disconnect(self._cancel)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._on_disconnect is not None:
            self._on_disconnect(None)
        if self._gone and self._task is not None and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise ClientGone from None

    def _cancel(self) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()


def _validated(requests: Validator, request: Request, body: bytes, most_items: int | None) -> Any:
    """The body as its model. Raises RequestValidationError, and HTTPException if its content type is not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Browsers send other kinds across origins without asking.
        media_type = printable(kind, 100) if kind else "of no stated type"
        raise HTTPException(415, f"The body is {media_type}. Send `Content-Type: application/json`.")
    try:
        return requests.json(body)
    except InvalidBody:
        if most_items is not None and (count := _items(body)) > most_items:
            raise too_many_items(count, most_items) from None
        raise


def _items(body: bytes) -> int:
    """Number of items if the JSON text is a list; 0 for others."""
    try:
        parsed = from_json(body)
    except ValueError:
        return 0
    return len(parsed) if isinstance(parsed, list) else 0


def _deadline(request: Request) -> int | None:
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return None
    try:
        return _deadlines.validate_strings(text)
    except ValidationError as error:
        raise RequestValidationError(
            [{**problem, "loc": ("header", DEADLINE_HEADER)} for problem in error.errors(include_url=False)]
        ) from error
