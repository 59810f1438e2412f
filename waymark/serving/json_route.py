"""Routes that are documented like any other and cost little: one pydantic pass in, one out.

FastAPI parses a body to Python, validates that, validates the answer and encodes it again, within what it needs for
dependencies. `JsonRoute` hands the bytes to pydantic, and the answer's bytes to the socket; the OpenAPI page comes from
the endpoint's signature as always. An endpoint takes the body's model and a `DeadlineMs`, has no dependencies, and
returns a model or a list of them.

A caller that hangs up cancels its endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cached_property
from typing import Annotated, Any, Final, get_type_hints

from fastapi import Header
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waymark.contracts import DEADLINE_HEADER

_Deadline = Annotated[int, Field(ge=1, le=600_000)]
DeadlineMs = Annotated[
    _Deadline | None, Header(alias=DEADLINE_HEADER, description="Give up with 504 after this many milliseconds.")
]
"""The deadline of a request, in its header."""

CLIENT_CLOSED_REQUEST: Final = 499
"""Nobody reads it; logs and metrics do."""
_deadlines: Final[TypeAdapter[int]] = TypeAdapter(_Deadline)


class JsonRoute(APIRoute):
    """A route from one JSON body to one JSON answer."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matched."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What FastAPI would call in `handle`'s place."""
        return self._answer

    @cached_property
    def _answer(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        hints = get_type_hints(self.endpoint, include_extras=True)
        answers: TypeAdapter[Any] = TypeAdapter(hints.pop("return"))
        requests: TypeAdapter[Any] = TypeAdapter(next(iter(hints.values())))

        async def answer(request: Request) -> Response:
            deadline_ms = _deadline(request)
            body = _validated(requests, request, await request.body())
            try:
                async with cancelled_when_gone(request):
                    found = await self.endpoint(body, deadline_ms)
            except ClientGone:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            return Response(answers.dump_json(found), media_type="application/json")

        return answer


class ClientGone(Exception):
    """Who asked has hung up."""


@contextlib.asynccontextmanager
async def cancelled_when_gone(request: Request) -> AsyncIterator[None]:
    """Run the body of the context, whose request has been read; raise ClientGone in it when the client hangs up."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientGone from None
    finally:
        watcher.cancel()


def _validated(requests: TypeAdapter[Any], request: Request, body: bytes) -> Any:
    """The body as its model. Raises RequestValidationError, and HTTPException when it does not say that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Browsers send other kinds across origins without asking.
        raise HTTPException(415, f"The body is {kind or 'of no stated type'}. Send `Content-Type: application/json`.")
    try:
        return requests.validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error


def _deadline(request: Request) -> int | None:
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return None
    try:
        return _deadlines.validate_strings(text)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("header", DEADLINE_HEADER)} for one in error.errors(include_url=False)]
        ) from error
