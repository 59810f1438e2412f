"""Clients of the services over HTTP: requests and answers are the models of `waymark.contracts`.

A call that meets a service which is starting, overloaded or briefly gone is tried again, with jitter, within a
budget; decisions change nothing, so asking twice is safe. What the service says is wrong is translated into the
error tree once, here. Each client keeps one pool of connections.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from httpx_sse import aconnect_sse
from pydantic import BaseModel, ValidationError

from waymark.contracts import (
    ActionRequest,
    ActionResponse,
    AgentState,
    EpisodeResult,
    EvaluationRequest,
    EvaluationStatus,
    Problem,
    ServiceInfo,
    SubgoalRequest,
    SubgoalResponse,
)
from waymark.errors import (
    ControllerUnavailable,
    DeadlineExceeded,
    ExecutorUnavailable,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)

_Answer = TypeVar("_Answer", bound=BaseModel)

_TRY_AGAIN: Final = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE})
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_JSON: Final = {"content-type": "application/json"}
_EVALUATIONS: Final = "/v1/evaluations"
ENDED: Final = frozenset({"finished", "cancelled"})
"""States in which an evaluation's events end."""


class ServiceClient:
    """What all clients share: one connection pool, retries within a budget, and errors of our own tree.

    `timeout` is how many seconds one call may take once it is connected, `retry_seconds` how long a call that
    meets an unavailable service goes on trying. `transport` replaces the network, e.g. by an app in this process.
    """

    service = "service"
    """As messages name it."""
    unavailable: type[ServiceUnavailable] = ServiceUnavailable

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = base_url
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        # Proxies from the environment are for the outside world, not for the services of one stack.
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ready(self) -> bool:
        """Whether the service answers requests now. Asks once."""
        try:
            return (await self._http.get("/health/ready")).is_success
        except httpx.HTTPError:
            return False

    async def _call(self, answer: type[_Answer], method: str, path: str, body: BaseModel | None = None) -> _Answer:
        """One call and its typed answer. Raises ServiceError of the right kind."""
        response = await self._request(method, path, body)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceError(
                f"The {self.service} at {self.base_url} answered {method} {path} with something else than expected.",
                remedy="Check that the address is that of a service of this version.",
            ) from error

    async def _request(self, method: str, path: str, body: BaseModel | None = None) -> httpx.Response:
        content = None if body is None else body.model_dump_json()
        headers = _JSON if content is not None else {}
        give_up = time.monotonic() + self._retry_seconds
        pause = _FIRST_PAUSE
        while True:
            failure = await self._attempt(method, path, content, headers)
            if isinstance(failure, httpx.Response):
                return failure
            wait = pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > give_up:
                raise failure
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _attempt(
        self, method: str, path: str, content: str | None, headers: dict[str, str]
    ) -> httpx.Response | ServiceUnavailable:
        """The answer, or why it is worth trying again. Raises what is not."""
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise DeadlineExceeded(
                f"The {self.service} at {self.base_url} did not answer within {self._timeout:g} s.",
                remedy="Check its load, or allow more time.",
            ) from error
        except httpx.TransportError as error:
            return self._unreachable(error)
        return response if response.is_success else self._refused(response)

    def _unreachable(self, error: httpx.TransportError) -> ServiceUnavailable:
        """The service as the reason why a connection failed."""
        failure = self.unavailable(
            f"The {self.service} at {self.base_url} cannot be reached: {str(error) or type(error).__name__}.",
            remedy="Check that it runs and that its address is right.",
        )
        failure.__cause__ = error
        return failure

    def _refused(self, response: httpx.Response) -> ServiceUnavailable:
        """What an answer that is no success means, if it is worth trying again. Raises what is not."""
        detail, field = _problem(response)
        message = f"The {self.service} at {self.base_url} answered {response.status_code}: {detail}"
        if response.status_code in _TRY_AGAIN:
            return self.unavailable(message)
        if response.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise DeadlineExceeded(message)
        if response.is_client_error:
            raise ServiceRejected(message, field=field)
        raise ServiceError(message, remedy="Its log says more under that request id.")


class _ModelClient(ServiceClient):
    """A client of a service that serves models."""

    async def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return await self._call(ServiceInfo, "GET", "/info")

    @property
    def _deadline_ms(self) -> int:
        """Tell the service when nobody waits any more."""
        return max(1, min(600_000, round(self._timeout * 1000)))


class ControllerClient(_ModelClient):
    """Asks the controller for sub-goals. Raises ServiceError."""

    service = "controller"
    unavailable = ControllerUnavailable

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        request = SubgoalRequest(state=state, n=n, model=model, deadline_ms=self._deadline_ms)
        return await self._call(SubgoalResponse, "POST", "/v1/subgoal", request)


class ExecutorClient(_ModelClient):
    """Asks the executor for actions. Raises ServiceError."""

    service = "executor"
    unavailable = ExecutorUnavailable

    async def action(
        self,
        state: AgentState,
        *,
        n: int = 1,
        model: str = "default",
        valid_actions: Sequence[str] | None = None,
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        request = ActionRequest(
            state=state,
            n=n,
            model=model,
            deadline_ms=self._deadline_ms,
            valid_actions=None if valid_actions is None else tuple(valid_actions),
        )
        return await self._call(ActionResponse, "POST", "/v1/action", request)


class EvaluationClient(ServiceClient):
    """Submits evaluations to an env-runner and follows them. Raises ServiceError."""

    service = "env-runner"

    async def submit(self, request: EvaluationRequest) -> EvaluationStatus:
        """Have it played. Tried once: asking twice would play it twice."""
        answer = await self._attempt("POST", _EVALUATIONS, request.model_dump_json(), _JSON)
        if isinstance(answer, ServiceUnavailable):
            raise answer
        return EvaluationStatus.model_validate_json(answer.content)

    async def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far it has come."""
        return await self._call(EvaluationStatus, "GET", f"{_EVALUATIONS}/{evaluation_id}")

    async def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One finished episode with every turn."""
        return await self._call(EpisodeResult, "GET", f"{_EVALUATIONS}/{evaluation_id}/episodes/{episode_id}")

    async def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """Play no more of it."""
        return await self._call(EvaluationStatus, "POST", f"{_EVALUATIONS}/{evaluation_id}/cancel")

    async def resume(self, evaluation_id: str) -> EvaluationStatus:
        """Play what has no result yet."""
        return await self._call(EvaluationStatus, "POST", f"{_EVALUATIONS}/{evaluation_id}/resume")

    async def events(self, evaluation_id: str) -> AsyncIterator[EpisodeResult | EvaluationStatus]:
        """Every result from the first on (without turns), and the status when it changes, until the evaluation ends.

        A connection that breaks is made again and goes on where it broke.
        """
        cursor = "0"
        give_up = time.monotonic() + self._retry_seconds
        while True:
            try:
                async with aconnect_sse(
                    self._http, "GET", f"{_EVALUATIONS}/{evaluation_id}/events", headers={"last-event-id": cursor}
                ) as source:
                    if not source.response.is_success:
                        await source.response.aread()
                        raise self._refused(source.response)
                    async for event in source.aiter_sse():
                        give_up = time.monotonic() + self._retry_seconds
                        cursor = event.id or cursor
                        if event.event == "episode":
                            yield EpisodeResult.model_validate_json(event.data)
                        elif event.event == "status":
                            status = EvaluationStatus.model_validate_json(event.data)
                            yield status
                            if status.state in ENDED:
                                return
            except httpx.TransportError as error:
                if time.monotonic() > give_up:
                    raise self._unreachable(error) from error
            await asyncio.sleep(_FIRST_PAUSE)


def _problem(response: httpx.Response) -> tuple[str, str | None]:
    """What went wrong, in the service's words, and the field it names first."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return response.reason_phrase or "no reason given", None
    detail = f"{problem.detail} (request {problem.request_id})"
    return detail, problem.errors[0].field if problem.errors else None
