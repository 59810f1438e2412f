"""Clients of the services over HTTP, for asyncio and for plain code: requests and answers are `waymark.contracts`.

    ControllerClient   SyncControllerClient     next sub-goals
    ExecutorClient     SyncExecutorClient       next actions
    EvaluationClient   SyncEvaluationClient     evaluations on an env-runner

What is asked, when it is asked again and what an answer means is decided once, by a generator that does no input or
output (`_Wire.ask`): it yields what to send or how long to wait, and is told what came of it. The clients only drive
it, each in its own way, over one pool of connections.

A call that meets a service which is starting, overloaded or briefly gone is tried again, with jitter, as long as its
time lasts. Asking twice is safe: decisions change nothing, and an evaluation is submitted under a key. What the service
says is wrong is translated into the error tree once, here. All methods raise ServiceError.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse, connect_sse
from pydantic import BaseModel, TypeAdapter, ValidationError

from waymark.clients import bounded
from waymark.clients.addresses import check_key, shown
from waymark.contracts import (
    DEADLINE_HEADER,
    ActionRequest,
    ActionResponse,
    AgentState,
    EpisodePage,
    EpisodeResult,
    EvaluationPage,
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
from waymark.serving.telemetry import tracing

if TYPE_CHECKING:
    from waymark.evaluation.scores import EvaluationSummary

_Answer = TypeVar("_Answer")

API_KEY: Final = "WAYMARK_API_KEY"
"""The variable that holds the bearer key of a caller who is given none."""
ENDED: Final = frozenset({"finished", "cancelled"})
"""States in which an evaluation's events end."""
_TRY_AGAIN: Final = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE})
_NO_KEY: Final = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_LONGEST_DEADLINE_MS: Final = 600_000
_LARGEST_RESULTS: Final = 1_024 * bounded.MEGABYTE
"""All results of one evaluation."""
_READY: Final = "/health/ready"
_EVALUATIONS: Final = "/v1/evaluations"


# --- what is asked, without input or output ---------------------------------------------------------------


@dataclass(frozen=True)
class _Call(Generic[_Answer]):
    """One thing to ask of a service, and what its answer is."""

    answer: type[_Answer]
    method: str
    path: str
    body: BaseModel | Sequence[BaseModel] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    largest: int = bounded.LARGEST
    """Bytes of an answer; a larger one is refused."""

    @cached_property
    def content(self) -> bytes | None:
        """The body as JSON."""
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json().encode()
        return None if self.body is None else b"[%s]" % b",".join(one.model_dump_json().encode() for one in self.body)


@dataclass(frozen=True)
class _Send:
    """Send this, and wait at most so many seconds for each step of it."""

    call: _Call[Any]
    timeout: float


_Outcome = httpx.Response | httpx.TransportError | bounded.AnswerRefused
_Asking = Generator[_Send | float, _Outcome | None, _Answer]
"""Yields what to send and is told the outcome, or yields seconds to wait and is told nothing."""


@dataclass(frozen=True)
class _Wire:
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

    def request(self, step: _Send) -> httpx.Request:
        """What a step sends. The service is told how long it is waited for."""
        call = step.call
        headers = {"accept-encoding": "identity", **self.headers, **tracing.outgoing(), **call.headers}
        headers[DEADLINE_HEADER] = str(max(1, min(_LONGEST_DEADLINE_MS, round(step.timeout * 1000))))
        if call.content is not None:
            headers["content-type"] = "application/json"
        url = _url(self.base_url, call.path)
        return httpx.Request(
            call.method,
            url.copy_merge_params(call.query) if call.query else url,
            headers=headers,
            content=call.content,
            extensions={"timeout": httpx.Timeout(step.timeout).as_dict(), bounded.EXTENSION: call.largest},
        )

    def ask(self, call: _Call[_Answer]) -> _Asking[_Answer]:
        """One call and its typed answer. Raises ServiceError of the right kind."""
        began = time.monotonic()
        deadline = began + self.timeout
        give_up = min(deadline, began + self.retry_seconds)
        pause = _FIRST_PAUSE
        while True:
            left = max(0.001, deadline - time.monotonic())
            outcome = yield _Send(call, left)
            assert outcome is not None
            failure = self.failure(outcome)
            if failure is None:
                assert isinstance(outcome, httpx.Response)
                return self._read(call, outcome)
            wait = _retry_after(outcome) + pause * random.uniform(0.5, 1.5)
            if time.monotonic() + wait > give_up:
                raise failure
            yield wait
            pause = min(2 * pause, _LONGEST_PAUSE)

    def failure(self, outcome: _Outcome) -> ServiceUnavailable | None:
        """None for a success, or why it is worth trying again. Raises what is not."""
        if isinstance(outcome, httpx.Response):
            return None if outcome.is_success else self._refused(outcome)
        if isinstance(outcome, bounded.AnswerRefused):
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

    def _read(self, call: _Call[_Answer], response: httpx.Response) -> _Answer:
        try:
            return TypeAdapter(call.answer).validate_json(response.content)
        except ValidationError as error:
            raise ServiceError(
                f"The {self.service} at {self.where} answered {call.method} {call.path} "
                "with something else than expected.",
                remedy="Check that the address is that of a service of this version.",
            ) from error


@lru_cache
def _url(base_url: str, path: str) -> httpx.URL:
    return httpx.URL(base_url.rstrip("/") + path)


def _retry_after(outcome: _Outcome) -> float:
    """How many seconds the service asks to be left alone."""
    asked = outcome.headers.get("retry-after", "") if isinstance(outcome, httpx.Response) else ""
    return float(asked) if asked.isdecimal() else 0.0


def _problem(response: httpx.Response) -> tuple[str, str | None]:
    """What went wrong, in the service's words, and the field it names first."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return response.reason_phrase or "no reason given", None
    detail = f"{problem.detail} (request {problem.request_id})"
    return detail, problem.errors[0].field if problem.errors else None


_INFO: Final = _Call(ServiceInfo, "GET", "/info")


def _subgoal(state: AgentState, n: int, model: str) -> _Call[SubgoalResponse]:
    return _Call(SubgoalResponse, "POST", "/v1/subgoal", SubgoalRequest(state=state, n=n, model=model))


def _subgoals(requests: Sequence[SubgoalRequest]) -> _Call[list[SubgoalResponse]]:
    return _Call(list[SubgoalResponse], "POST", "/v1/subgoals", requests)


def _action(state: AgentState, n: int, model: str, valid_actions: Sequence[str] | None) -> _Call[ActionResponse]:
    valid = None if valid_actions is None else tuple(valid_actions)
    return _Call(
        ActionResponse, "POST", "/v1/action", ActionRequest(state=state, n=n, model=model, valid_actions=valid)
    )


def _actions(requests: Sequence[ActionRequest]) -> _Call[list[ActionResponse]]:
    return _Call(list[ActionResponse], "POST", "/v1/actions", requests)


def _submit(request: EvaluationRequest, key: str | None) -> _Call[EvaluationStatus]:
    headers = {"idempotency-key": key or uuid.uuid4().hex}
    return _Call(EvaluationStatus, "POST", _EVALUATIONS, request, headers=headers)


def _page(limit: int, cursor: str | None) -> Mapping[str, str]:
    return {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})


def _evaluations(limit: int, cursor: str | None) -> _Call[EvaluationPage]:
    return _Call(EvaluationPage, "GET", _EVALUATIONS, query=_page(limit, cursor))


def _status(evaluation_id: str) -> _Call[EvaluationStatus]:
    return _Call(EvaluationStatus, "GET", f"{_EVALUATIONS}/{evaluation_id}")


def _results(evaluation_id: str) -> _Call[list[EpisodeResult]]:
    path = f"{_EVALUATIONS}/{evaluation_id}/results"
    return _Call(list[EpisodeResult], "GET", path, largest=_LARGEST_RESULTS)


def _summary(evaluation_id: str) -> _Call[EvaluationSummary]:
    from waymark.evaluation.scores import EvaluationSummary  # brings numpy, which few callers need

    return _Call(EvaluationSummary, "GET", f"{_EVALUATIONS}/{evaluation_id}/summary")


def _episodes(evaluation_id: str, limit: int, cursor: str | None) -> _Call[EpisodePage]:
    return _Call(EpisodePage, "GET", f"{_EVALUATIONS}/{evaluation_id}/episodes", query=_page(limit, cursor))


def _episode(evaluation_id: str, episode_id: str) -> _Call[EpisodeResult]:
    return _Call(EpisodeResult, "GET", f"{_EVALUATIONS}/{evaluation_id}/episodes/{episode_id}")


def _cancel(evaluation_id: str) -> _Call[EvaluationStatus]:
    return _Call(EvaluationStatus, "POST", f"{_EVALUATIONS}/{evaluation_id}/cancel")


def _resume(evaluation_id: str, *, errored: bool) -> _Call[EvaluationStatus]:
    query = {"errored": "true"} if errored else {}
    return _Call(EvaluationStatus, "POST", f"{_EVALUATIONS}/{evaluation_id}/resume", query=query)


class _Following:
    """Where the reader of an evaluation's events stands: what to ask for next, and for how long yet."""

    def __init__(self, evaluation_id: str, wire: _Wire) -> None:
        self.path = f"{_EVALUATIONS}/{evaluation_id}/events"
        self.ended = False
        self._wire = wire
        self._cursor = "0"
        self._heard = time.monotonic()

    def headers(self) -> dict[str, str]:
        """Go on where it broke."""
        return {"last-event-id": self._cursor, "accept-encoding": "identity"}

    def check(self, response: httpx.Response) -> None:
        """Raise AnswerRefused for events that are compressed: httpx would unpack them without a limit."""
        if encoding := response.headers.get("content-encoding"):
            raise bounded.AnswerRefused(f"events compressed as {encoding[:60]!r}, which was not asked for")

    def read(self, event: ServerSentEvent) -> EpisodeResult | EvaluationStatus | None:
        """What an event tells; None for one that tells nothing."""
        self._heard = time.monotonic()
        self._cursor = event.id or self._cursor
        if event.event == "episode":
            return EpisodeResult.model_validate_json(event.data)
        if event.event != "status":
            return None
        status = EvaluationStatus.model_validate_json(event.data)
        self.ended = status.state in ENDED
        return status

    def broke(self, outcome: _Outcome) -> None:
        """Nothing if the connection is worth making again. Raises ServiceError."""
        failure = self._wire.failure(outcome)
        if failure is not None and time.monotonic() > self._heard + self._wire.retry_seconds:
            raise failure


# --- the clients of asyncio -------------------------------------------------------------------------------


def _headers(api_key: str | None) -> Mapping[str, str]:
    key = os.environ.get(API_KEY) if api_key is None else api_key
    return {"authorization": f"Bearer {check_key(key, API_KEY)}"} if key else {}


class ServiceClient:
    """What the asynchronous clients share.

    `timeout` is how many seconds one call may take, all attempts and pauses included; the service is told, and gives
    up when nobody waits any more. `retry_seconds` is how long a call that meets an unavailable service goes on
    trying. `api_key` is sent as bearer key, by default that of `WAYMARK_API_KEY`. `transport` replaces the network,
    e.g. by an app in this process.
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
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = _headers(api_key)
        self._wire = _Wire(self.service, self.unavailable, base_url, timeout, retry_seconds, headers)
        # Proxies from the environment are for the outside world, not for the services of one stack.
        self._transport = transport or httpx.AsyncHTTPTransport(trust_env=False)
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=timeout, headers=headers, transport=self._transport, trust_env=False
        )

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._wire.base_url

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
            async with self._http.stream("GET", _READY) as response:  # its body is not read
                return response.is_success
        except httpx.HTTPError:
            return False

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Straight to the transport: cookies, redirects and the like cost the client a quarter of a worker's time."""
        return await bounded.send(self._transport, request, request.extensions["timeout"]["read"])

    async def _ask(self, call: _Call[_Answer]) -> _Answer:
        asking = self._wire.ask(call)
        outcome: _Outcome | None = None
        while True:
            try:
                step = asking.send(outcome)
            except StopIteration as end:
                answer: _Answer = end.value
                return answer
            outcome = None
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            try:
                outcome = await self._send(self._wire.request(step))
            except (httpx.TransportError, bounded.AnswerRefused) as error:
                outcome = error


class ControllerClient(ServiceClient):
    """Asks the controller for sub-goals."""

    service = "controller"
    unavailable = ControllerUnavailable

    async def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return await self._ask(_INFO)

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        return await self._ask(_subgoal(state, n, model))

    async def subgoals(self, requests: Sequence[SubgoalRequest]) -> list[SubgoalResponse]:
        """The next sub-goals for several states, in their order; all or none."""
        return await self._ask(_subgoals(requests))


class ExecutorClient(ServiceClient):
    """Asks the executor for actions."""

    service = "executor"
    unavailable = ExecutorUnavailable

    async def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return await self._ask(_INFO)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        return await self._ask(_action(state, n, model, valid_actions))

    async def actions(self, requests: Sequence[ActionRequest]) -> list[ActionResponse]:
        """The next actions for several states, in their order; all or none."""
        return await self._ask(_actions(requests))


class EvaluationClient(ServiceClient):
    """Submits evaluations to an env-runner and follows them."""

    service = "env-runner"

    async def submit(self, request: EvaluationRequest, *, key: str | None = None) -> EvaluationStatus:
        """Have it played: once, however often it is submitted under an idempotency key, by default a new one."""
        return await self._ask(_submit(request, key))

    async def evaluations(self, *, limit: int = 50, cursor: str | None = None) -> EvaluationPage:
        """What was submitted, the newest first; `cursor` is `next_cursor` of the page before."""
        return await self._ask(_evaluations(limit, cursor))

    async def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far it has come."""
        return await self._ask(_status(evaluation_id))

    async def results(self, evaluation_id: str) -> list[EpisodeResult]:
        """All results so far, light."""
        return await self._ask(_results(evaluation_id))

    async def summary(self, evaluation_id: str) -> EvaluationSummary:
        """Means and intervals of the results so far, and the published figures for the same task types."""
        return await self._ask(_summary(evaluation_id))

    async def episodes(self, evaluation_id: str, *, limit: int = 50, cursor: str | None = None) -> EpisodePage:
        """Its episodes in the order of play, finished or not; `cursor` is `next_cursor` of the page before."""
        return await self._ask(_episodes(evaluation_id, limit, cursor))

    async def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One finished episode with every turn."""
        return await self._ask(_episode(evaluation_id, episode_id))

    async def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """Play no more of it."""
        return await self._ask(_cancel(evaluation_id))

    async def resume(self, evaluation_id: str, *, errored: bool = False) -> EvaluationStatus:
        """Play what has no result yet; with `errored`, also what has an error for one."""
        return await self._ask(_resume(evaluation_id, errored=errored))

    async def events(self, evaluation_id: str) -> AsyncIterator[EpisodeResult | EvaluationStatus]:
        """Every result from the first on (light), and the status when it changes, until the evaluation ends.

        A connection that breaks is made again and goes on where it broke.
        """
        following = _Following(evaluation_id, self._wire)
        while True:
            try:
                async with aconnect_sse(self._http, "GET", following.path, headers=following.headers()) as source:
                    if source.response.is_success:
                        following.check(source.response)
                        async for event in source.aiter_sse():
                            if (told := following.read(event)) is not None:
                                yield told
                            if following.ended:
                                return
                    else:
                        following.broke(await bounded.read(source.response))
            except (httpx.TransportError, bounded.AnswerRefused) as error:
                following.broke(error)
            await asyncio.sleep(_FIRST_PAUSE)


# --- the same, for plain code -----------------------------------------------------------------------------


class SyncServiceClient:
    """What the blocking clients share. Their arguments are those of `ServiceClient`. Threads may share a client."""

    service = ServiceClient.service
    unavailable: type[ServiceUnavailable] = ServiceClient.unavailable

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 10.0,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = _headers(api_key)
        self._wire = _Wire(self.service, self.unavailable, base_url, timeout, retry_seconds, headers)
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout, headers=headers, transport=transport, trust_env=False
        )

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._wire.base_url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> bool:
        """Whether the service answers requests now. Asks once."""
        try:
            with self._http.stream("GET", _READY) as response:
                return response.is_success
        except httpx.HTTPError:
            return False

    def _ask(self, call: _Call[_Answer]) -> _Answer:
        asking = self._wire.ask(call)
        outcome: _Outcome | None = None
        while True:
            try:
                step = asking.send(outcome)
            except StopIteration as end:
                answer: _Answer = end.value
                return answer
            outcome = None
            if isinstance(step, float):
                time.sleep(step)
                continue
            try:
                sent = self._http.send(self._wire.request(step), stream=True)
                outcome = bounded.read_sync(sent, step.call.largest, deadline=time.monotonic() + step.timeout)
            except (httpx.TransportError, bounded.AnswerRefused) as error:
                outcome = error


class SyncControllerClient(SyncServiceClient):
    """Asks the controller for sub-goals."""

    service = ControllerClient.service
    unavailable = ControllerClient.unavailable

    def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return self._ask(_INFO)

    def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        return self._ask(_subgoal(state, n, model))

    def subgoals(self, requests: Sequence[SubgoalRequest]) -> list[SubgoalResponse]:
        """The next sub-goals for several states, in their order; all or none."""
        return self._ask(_subgoals(requests))


class SyncExecutorClient(SyncServiceClient):
    """Asks the executor for actions."""

    service = ExecutorClient.service
    unavailable = ExecutorClient.unavailable

    def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return self._ask(_INFO)

    def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        return self._ask(_action(state, n, model, valid_actions))

    def actions(self, requests: Sequence[ActionRequest]) -> list[ActionResponse]:
        """The next actions for several states, in their order; all or none."""
        return self._ask(_actions(requests))


class SyncEvaluationClient(SyncServiceClient):
    """Submits evaluations to an env-runner and follows them."""

    service = EvaluationClient.service

    def submit(self, request: EvaluationRequest, *, key: str | None = None) -> EvaluationStatus:
        """Have it played: once, however often it is submitted under an idempotency key, by default a new one."""
        return self._ask(_submit(request, key))

    def evaluations(self, *, limit: int = 50, cursor: str | None = None) -> EvaluationPage:
        """What was submitted, the newest first; `cursor` is `next_cursor` of the page before."""
        return self._ask(_evaluations(limit, cursor))

    def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far it has come."""
        return self._ask(_status(evaluation_id))

    def results(self, evaluation_id: str) -> list[EpisodeResult]:
        """All results so far, light."""
        return self._ask(_results(evaluation_id))

    def summary(self, evaluation_id: str) -> EvaluationSummary:
        """Means and intervals of the results so far, and the published figures for the same task types."""
        return self._ask(_summary(evaluation_id))

    def episodes(self, evaluation_id: str, *, limit: int = 50, cursor: str | None = None) -> EpisodePage:
        """Its episodes in the order of play, finished or not; `cursor` is `next_cursor` of the page before."""
        return self._ask(_episodes(evaluation_id, limit, cursor))

    def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One finished episode with every turn."""
        return self._ask(_episode(evaluation_id, episode_id))

    def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """Play no more of it."""
        return self._ask(_cancel(evaluation_id))

    def resume(self, evaluation_id: str, *, errored: bool = False) -> EvaluationStatus:
        """Play what has no result yet; with `errored`, also what has an error for one."""
        return self._ask(_resume(evaluation_id, errored=errored))

    def events(self, evaluation_id: str) -> Iterator[EpisodeResult | EvaluationStatus]:
        """Every result from the first on (light), and the status when it changes, until the evaluation ends.

        A connection that breaks is made again and goes on where it broke.
        """
        following = _Following(evaluation_id, self._wire)
        while True:
            try:
                with connect_sse(self._http, "GET", following.path, headers=following.headers()) as source:
                    if source.response.is_success:
                        following.check(source.response)
                        for event in source.iter_sse():
                            if (told := following.read(event)) is not None:
                                yield told
                            if following.ended:
                                return
                    else:
                        following.broke(bounded.read_sync(source.response))
            except (httpx.TransportError, bounded.AnswerRefused) as error:
                following.broke(error)
            time.sleep(_FIRST_PAUSE)
