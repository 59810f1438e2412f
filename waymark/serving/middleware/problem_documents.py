"""Errors as RFC 9457 problem documents, which hold the request id.

No answer holds a traceback; the log does, beside the request id.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

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
from waymark.serving.printable_text import printable

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
CLIENT_CLOSED_REQUEST: Final = 499
"""Status in log and metrics of a request whose caller has left."""
_log = logging.getLogger("waymark")


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


def add_error_handlers(app: FastAPI) -> None:
    """Have an app answer errors of routes with problem documents."""
    app.add_exception_handler(WaymarkError, _on_waymark_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


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
