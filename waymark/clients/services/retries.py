"""How a service is asked: retries within a budget, deadlines, and errors of our own tree. No input or output.

`ServiceProtocol.ask` is a generator: it yields a request to send or seconds to wait, and is sent the outcome. The
clients with asyncio and without only drive it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import httpx
from pydantic import TypeAdapter, ValidationError

from waymark.clients import answer_limits
from waymark.clients.addresses import shown
from waymark.clients.api_key import API_KEY
from waymark.clients.services.calls import Call, Response
from waymark.clients.trace_context import trace_headers
from waymark.contracts import DEADLINE_HEADER, Problem
from waymark.errors import DeadlineExceeded, ServiceError, ServiceRejected, ServiceUnavailable

FIRST_PAUSE: Final = 0.1
"""Seconds before the second attempt, without jitter; each further pause is twice as long."""
_LONGEST_PAUSE: Final = 2.0
_TRY_AGAIN: Final = frozenset(
    {
        httpx.codes.REQUEST_TIMEOUT,  # the service closed the connection before it read the request
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
    }
)
_NO_KEY: Final = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_LONGEST_DEADLINE_MS: Final = 600_000

Outcome = httpx.Response | httpx.TransportError | answer_limits.AnswerRefused
"""What came of an attempt."""


@dataclass(frozen=True)
class Attempt:
    """Send this, and wait at most so many seconds for all of its answer."""

    call: Call[Any]
    timeout: float


Asking = Generator[Attempt | float, Outcome | None, Response]
"""Yields an attempt and is sent its outcome, or yields seconds to wait and is sent None."""


@dataclass(frozen=True)
class ServiceProtocol:
    """How to talk to one service: retries within a budget, and errors of our own tree."""

    service: str
    """As messages name it."""
    unavailable: type[ServiceUnavailable]
    base_url: str
    timeout: float
    retry_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request."""

    @property
    def where(self) -> str:
        """The address as messages may show it."""
        return shown(self.base_url)

    def request(self, attempt: Attempt) -> httpx.Request:
        """What an attempt sends. A header tells the service how long the caller waits."""
        call = attempt.call
        headers = {"accept-encoding": "identity", **self.headers, **trace_headers(), **call.headers}
        headers[DEADLINE_HEADER] = str(max(1, min(_LONGEST_DEADLINE_MS, round(attempt.timeout * 1000))))
        if call.content is not None:
            headers["content-type"] = "application/json"
        url = _url(self.base_url, call.path)
        return httpx.Request(
            call.method,
            url.copy_merge_params(call.query) if call.query else url,
            headers=headers,
            content=call.content,
            extensions={"timeout": httpx.Timeout(attempt.timeout).as_dict(), answer_limits.EXTENSION: call.largest},
        )

    def ask(self, call: Call[Response]) -> Asking[Response]:
        """One call and its typed answer. Raises ServiceError of the right kind."""
        began = time.monotonic()
        deadline = began + self.timeout
        give_up = min(deadline, began + self.retry_seconds)
        pause = FIRST_PAUSE
        while True:
            left = max(0.001, deadline - time.monotonic())
            outcome = yield Attempt(call, left)
            assert outcome is not None
            failure = self.failure(outcome)
            if failure is None:
                assert isinstance(outcome, httpx.Response)
                return self.read(call.response, outcome.content, f"{call.method} {call.path}")
            wait = _retry_after(outcome) + pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > give_up:
                raise failure
            yield wait
            pause = min(2 * pause, _LONGEST_PAUSE)

    def failure(self, outcome: Outcome) -> ServiceUnavailable | None:
        """None for a success, or why it is worth trying again. Raises what is not."""
        if isinstance(outcome, httpx.Response):
            return None if outcome.is_success else self._refused(outcome)
        if isinstance(outcome, answer_limits.AnswerRefused):
            raise ServiceError(
                f"The {self.service} at {self.where} sends {outcome}.",
                remedy="Check that the address is that of a service of this version.",
            ) from outcome
        if isinstance(outcome, httpx.ReadTimeout | httpx.WriteTimeout):
            raise DeadlineExceeded(
                f"The {self.service} at {self.where} did not answer within {self.timeout:g} s.",
                remedy="Check its load, or allow more time.",
            ) from outcome
        failure = self.unavailable(
            f"The {self.service} at {self.where} cannot be reached: {str(outcome) or type(outcome).__name__}.",
            remedy="Check that it runs and that its address is right.",
        )
        failure.__cause__ = outcome
        return failure

    def _refused(self, response: httpx.Response) -> ServiceUnavailable:
        """What an answer that is no success means, if it is worth trying again. Raises what is not."""
        detail, field = _problem(response)
        message = f"The {self.service} at {self.where} answered {response.status_code}: {detail}"
        if response.status_code in _TRY_AGAIN:
            return self.unavailable(message)
        if response.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise DeadlineExceeded(message)
        if response.status_code in _NO_KEY:
            raise ServiceRejected(message, remedy=f"Give api_key, or set {API_KEY}.", field=field)
        if response.is_client_error:
            raise ServiceRejected(message, field=field)
        raise ServiceError(message, remedy="Its log says more under that request id.")

    def read(self, kind: type[Response], content: str | bytes, source: str) -> Response:
        """JSON as a typed value; `source` says in an error what it answers. Raises ServiceError."""
        try:
            return TypeAdapter(kind).validate_json(content)
        except ValidationError as error:
            raise ServiceError(
                f"The {self.service} at {self.where} answered {source} with something else than expected.",
                remedy="Check that the address is that of a service of this version.",
            ) from error


@lru_cache
def _url(base_url: str, path: str) -> httpx.URL:
    return httpx.URL(base_url.rstrip("/") + path)


def _retry_after(outcome: Outcome) -> float:
    """How many seconds the service asks to be left alone."""
    seconds = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
    return float(seconds) if seconds.isdecimal() else 0.0


def _problem(response: httpx.Response) -> tuple[str, str | None]:
    """What went wrong, in the service's words, and the field it names first."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return response.reason_phrase or "no reason given", None
    detail = f"{problem.detail} (request {problem.request_id})"
    return detail, problem.errors[0].field if problem.errors else None
