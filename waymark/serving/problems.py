"""What stands in front of every service: request ids, keys, admission, the limit on bodies, and problem documents.

`install(app)` gives an app all five, in this order, so that a refusal costs as little as it can. The request id is
taken from `X-Request-ID` or made, and sent back in the same header; an error becomes an RFC 9457 problem document with
that id. No answer holds a traceback; the log does, beside the request id.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waymark.contracts import FieldProblem, Problem
from waymark.errors import (
    DeadlineExceeded,
    InputTooLarge,
    InvalidInput,
    JobStoreUnavailable,
    NotFound,
    QueueFull,
    RecordDamaged,
    ServiceUnavailable,
    StorageUnavailable,
    Unauthorized,
    WaymarkError,
)
from waymark.serving import observe
from waymark.serving.auth import Keys, RequireKey

_STATUS: Final[dict[type[WaymarkError], HTTPStatus]] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    InputTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotFound: HTTPStatus.NOT_FOUND,
    ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    JobStoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    RecordDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageUnavailable: HTTPStatus.INSUFFICIENT_STORAGE,
}
_KINDS: Final = {
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "InputTooLarge",
    415: "UnsupportedMediaType",
    500: "InternalError",
}
_DROPPED_BYTES: Final = 64_000_000
"""Of a body over the limit, so much is read and dropped: who sends it all before he reads gets his answer too."""
_ADMITTED_AT_ONCE: Final = 4
"""Requests that are let in, read and checked in one round of the event loop."""
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_log = logging.getLogger("waymark")


def install(
    app: FastAPI,
    *,
    max_body_bytes: int = 4_000_000,
    keys: Keys | None = None,
    open_paths: Collection[str] = (),
    asking: Collection[str] = (),
    admit: Callable[[], None] = lambda: None,
) -> None:
    """Give an app request ids, the keys that it asks for, the limit on bodies, and problem documents for errors.

    Whoever asks for one of the `open_paths` needs no key. `admit` is called at each request for one of the paths
    `asking`, before its body is read; what it raises is the answer.
    """
    app.add_exception_handler(WaymarkError, _on_waymark_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_middleware(_BodyLimit, limit=max_body_bytes)
    if asking:
        app.add_middleware(_Admission, paths=asking, admit=admit)
    if keys is not None:
        app.add_middleware(RequireKey, keys=keys, open_paths=open_paths)
    app.add_middleware(_Requests)


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What routes may answer beside success, for the OpenAPI document."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def problem_response(
    status: int,
    kind: str,
    detail: str,
    request_id: str,
    *,
    errors: tuple[FieldProblem, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem document; `kind` is the error's name, e.g. `InvalidInput`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind)
    problem = Problem(
        type="urn:waymark:" + words.lower().replace(" ", "-"),
        title=words.capitalize(),
        status=status,
        detail=detail,
        request_id=request_id,
        errors=errors,
    )
    return Response(problem.model_dump_json(), status, headers=headers, media_type="application/problem+json")


def error_response(scope: Scope, error: WaymarkError) -> Response:
    """An error of ours as the problem document that the request gets."""
    known = (status for kind in type(error).__mro__ if (status := _STATUS.get(kind)))
    status = next(known, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request %s failed: %s", _request_id(scope), error)
    errors = () if error.field is None else (FieldProblem(field=error.field, message=error.message),)
    headers = {}
    if isinstance(error, ServiceUnavailable | JobStoreUnavailable):
        headers["Retry-After"] = str(getattr(error, "retry_seconds", 1))
    elif isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(status, error.kind, str(error), _request_id(scope), errors=errors, headers=headers)


async def _on_waymark_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WaymarkError)
    return error_response(request.scope, error)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = tuple(
        FieldProblem(field="", message=f"The body is not valid JSON: {one['ctx']['error']}")
        if one["type"] == "json_invalid"
        else FieldProblem(
            field=".".join(str(part) for part in one["loc"][1:]),
            message=one["msg"].removeprefix("Value error, "),  # a word of pydantic's for our own messages
        )
        for one in error.errors()
    )
    detail = "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in errors[:3])
    return problem_response(422, "InvalidInput", f"{detail}.", _request_id(request.scope), errors=errors)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # how FastAPI says that a body is not even text
        return problem_response(422, "InvalidInput", "The body is not valid JSON.", _request_id(request.scope))
    path, method = request.url.path, request.method
    detail = {
        404: f"There is nothing at {path}; /docs lists what there is.",
        405: f"{path} does not answer {method}; use {(error.headers or {}).get('Allow', 'another method')}.",
    }.get(error.status_code, str(error.detail))
    return problem_response(
        error.status_code,
        _KINDS.get(error.status_code, "HttpError"),
        detail,
        _request_id(request.scope),
        headers=dict(error.headers or {}),
    )


def _request_id(scope: Scope) -> str:
    found = scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else "unknown"


def _given_up() -> ServiceUnavailable:
    """What a request hears that is still at work when the service's grace is over."""
    return ServiceUnavailable("The service is shutting down and gives this up.", remedy="Send the request again.")


class _Requests:
    """Gives every request its id, and answers what fails in front of the app or in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        observe.identify(request_id)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except WaymarkError as error:
            await error_response(scope, error)(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not started:
                await error_response(scope, _given_up())(scope, receive, send_with_id)
            raise
        except Exception:
            _log.exception("request %s failed", request_id)
            if started:
                raise
            detail = "The service failed at this request; its log says more under the request id."
            response = problem_response(500, "InternalError", detail, request_id)
            await response(scope, receive, send_with_id)


class _Admission:
    """Asks whether there is room for a request. A full service spends its time on answers, so no is said early.

    Room comes a batch at a time, and all who take it would be read in one round of the event loop: too long for those
    who are refused meanwhile, since a request takes two rounds. So a few a round are let in; who waits for his turn is
    asked again whether there is room.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], admit: Callable[[], None]) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._admit = admit
        self._turns = _ADMITTED_AT_ONCE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self._paths:
            scope["state"]["route"] = scope["path"]  # `observe` wants to know, and the router is not reached
            self._admit()
            while not self._turns:
                await asyncio.sleep(0)
                self._admit()
            if self._turns == _ADMITTED_AT_ONCE:
                asyncio.get_running_loop().call_soon(self._next_round)
            self._turns -= 1
        await self._app(scope, receive, send)

    def _next_round(self) -> None:
        self._turns = _ADMITTED_AT_ONCE


class _BodyLimit:
    """Reads a body before the app does, and keeps no more of it than the limit."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        too_large = announced > self._limit
        body = b""
        read, more = 0, announced <= self._limit + _DROPPED_BYTES
        while more and read <= self._limit + _DROPPED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            part = message.get("body", b"")
            more = message.get("more_body", False)
            read += len(part)
            too_large = too_large or read > self._limit
            body = b"" if too_large else body + part
        if too_large:
            raise InputTooLarge(
                f"The body is over the limit of {self._limit} bytes.",
                remedy="Send fewer items or fewer turns.",
                field="",
            )
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)
