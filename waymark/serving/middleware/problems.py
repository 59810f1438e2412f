"""What stands in front of every service: request ids, host names, keys, admission, bounds on bodies, problem documents.

`install(app)` gives an app all of them, in this order, so that a refusal costs as little as it can. The request id is
taken from `X-Request-ID` or made, and sent back in the same header; an error becomes an RFC 9457 problem document with
that id. No answer holds a traceback; the log does, beside the request id.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from types import MappingProxyType
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
    HostRefused,
    InputTooLarge,
    InvalidInput,
    JobStoreUnavailable,
    NotFound,
    OriginRefused,
    QueueFull,
    RecordDamaged,
    ServiceUnavailable,
    StorageUnavailable,
    Unauthorized,
    WaymarkError,
)
from waymark.serving.api.validation import field_problems, sentence
from waymark.serving.middleware.api_keys import Keys, RequireKey
from waymark.serving.middleware.hosts import Edge
from waymark.serving.middleware.json_bounds import MOST_VALUES, check_values
from waymark.serving.middleware.replayed_body import replayed
from waymark.serving.printable_text import printable
from waymark.serving.telemetry import observed_requests

_STATUS: Final[dict[type[WaymarkError], HTTPStatus]] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    InputTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HostRefused: HTTPStatus.MISDIRECTED_REQUEST,
    OriginRefused: HTTPStatus.FORBIDDEN,
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
_DETAIL_LENGTH: Final = 2_000
_FIELD_LENGTH: Final = 200
_DROPPED_BYTES: Final = 64_000_000
"""Of a body over the limit, so much is read and dropped: who sends it all before he reads gets his answer too."""
CLIENT_CLOSED_REQUEST: Final = 499
"""Status in log and metrics of a request whose caller has left."""
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_log = logging.getLogger("waymark")


def install(
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
    app.add_exception_handler(WaymarkError, _on_waymark_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_middleware(_BodyLimit, limit=max_body_bytes, most_values=most_values)
    if asking:
        app.add_middleware(_Admission, paths=asking, admit=admit)
    if keys is not None:
        app.add_middleware(RequireKey, keys=keys, open_paths=open_paths)
    app.router.redirect_slashes = False  # `Edge` leaves nothing to redirect
    app.add_middleware(Edge, hosts=hosts)
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
    more_errors: int = 0,
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem document of at most 64 kB; `kind` is the error's name, e.g. `InvalidInput`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind)
    problem = Problem(
        type="urn:waymark:" + words.lower().replace(" ", "-"),
        title=words.capitalize(),
        status=status,
        detail=printable(detail, _DETAIL_LENGTH),
        request_id=request_id,
        errors=errors,
        more_errors=more_errors,
    )
    return Response(problem.model_dump_json(), status, headers=headers, media_type="application/problem+json")


def error_response(scope: Scope, error: WaymarkError) -> Response:
    """An error of ours as the problem document that the request gets."""
    known = (status for kind in type(error).__mro__ if (status := _STATUS.get(kind)))
    status = next(known, HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request %s failed: %s", _request_id(scope), error)
    field = None if error.field is None else printable(error.field, _FIELD_LENGTH)
    errors = () if field is None else (FieldProblem(field=field, message=printable(error.message, _DETAIL_LENGTH)),)
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
    errors, more = field_problems(error)
    return problem_response(
        422, "InvalidInput", sentence(error), _request_id(request.scope), errors=errors, more_errors=more
    )


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # how FastAPI says that a body is not even text
        return problem_response(422, "InvalidInput", "The body is not valid JSON.", _request_id(request.scope))
    path, method = printable(request.scope["path"], _FIELD_LENGTH), request.method
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
    request_id = scope.get("state", {}).get("request_id")
    return request_id if isinstance(request_id, str) else "unknown"


def _given_up() -> ServiceUnavailable:
    """What a request hears that is still at work when the service's grace is over."""
    return ServiceUnavailable("The service is shutting down; it gave no answer.", remedy="Send the request again.")


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
        observed_requests.identify(request_id)
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
    """Asks whether there is room for a request before its body is read, so that a refusal costs little."""

    def __init__(self, app: ASGIApp, paths: Collection[str], admit: Callable[[], None]) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in self._paths:
            scope["state"]["route"] = scope["path"]  # `observed_requests` wants to know, and the router is not reached
            self._admit()
        await self._app(scope, receive, send)


class _BodyLimit:
    """Reads a body before the app does, and keeps no more of it than the limit."""

    def __init__(self, app: ASGIApp, limit: int, most_values: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._most_values = most_values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        too_large = announced > self._limit
        body = bytearray()
        read, more = 0, announced <= self._limit + _DROPPED_BYTES
        while more and read <= self._limit + _DROPPED_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":  # nobody reads this answer; log and metrics do
                await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
                return
            part = message.get("body", b"")
            more = message.get("more_body", False)
            read += len(part)
            too_large = too_large or read > self._limit
            if too_large:
                body.clear()
            else:
                body += part
        if too_large:
            raise InputTooLarge(
                f"The body is over the limit of {self._limit} bytes.",
                remedy="Send fewer items or fewer turns.",
                field="",
            )
        check_values(body, self._most_values.get(scope["path"], MOST_VALUES))
        request = {"type": "http.request", "body": bytes(body), "more_body": False}
        await self._app(scope, replayed(request, receive), send)
