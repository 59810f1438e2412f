"""Gives each request its id: that of `X-Request-ID`, or a new one. It is sent back in the same header."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waymark.errors import ServiceUnavailable, WaymarkError
from waymark.serving.middleware.problem_documents import error_response, problem_response
from waymark.serving.telemetry import observed_requests

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_log = logging.getLogger("waymark")


def _given_up() -> ServiceUnavailable:
    """What a request hears that is still at work when the service's grace is over."""
    return ServiceUnavailable("The service is shutting down; it gave no answer.", remedy="Send the request again.")


class RequestIds:
    """Gives every request its id, and answers what fails in front of the app or in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer an error with a problem document."""
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
