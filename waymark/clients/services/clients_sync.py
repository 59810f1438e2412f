"""Clients for plain code, without asyncio.

Generated from `waymark/clients/services/clients.py` by `.ci/unasync`: do not edit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import httpx

from waymark.clients.answer_limits import AnswerRefused
from waymark.clients.api_key import key_headers
from waymark.clients.read_answer_sync import read, send
from waymark.clients.services import calls
from waymark.clients.services.calls import READY, Call, Response
from waymark.clients.services.events import EventCursor
from waymark.clients.services.retries import FIRST_PAUSE, Outcome, ServiceProtocol
from waymark.contracts import (
    ActionRequest,
    ActionResponse,
    AgentState,
    EpisodePage,
    EpisodeResult,
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    EvaluationSummary,
    ServiceInfo,
    SubgoalRequest,
    SubgoalResponse,
)
from waymark.errors import ControllerUnavailable, ExecutorUnavailable, ServiceUnavailable


class SyncServiceClient:
    """What the clients share.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = key_headers(api_key)
        self._protocol = ServiceProtocol(self.service, self.unavailable, base_url, timeout, retry_seconds, headers)
        # Proxies from the environment are for the outside world, not for the services of one stack.
        self._transport = transport or httpx.HTTPTransport(trust_env=False)
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout, headers=headers, transport=self._transport, trust_env=False
        )

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._protocol.base_url

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
            with self._http.stream("GET", READY) as response:  # its body is not read
                return response.is_success
        except httpx.HTTPError:
            return False

    def _ask(self, call: Call[Response]) -> Response:
        asking = self._protocol.ask(call)
        outcome: Outcome | None = None
        while True:
            try:
                step = asking.send(outcome)
            except StopIteration as end:
                response: Response = end.value
                return response
            outcome = None
            if isinstance(step, float):
                time.sleep(step)
                continue
            try:  # Straight to the transport: cookies, redirects and the like cost a quarter of a worker's time.
                outcome = send(self._transport, self._protocol.request(step), step.timeout)
            except (httpx.TransportError, AnswerRefused) as error:
                outcome = error


class SyncControllerClient(SyncServiceClient):
    """Asks the controller for sub-goals."""

    service = "controller"
    unavailable = ControllerUnavailable

    def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return self._ask(calls.INFO)

    def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The `n` best next sub-goals."""
        return self._ask(calls.subgoal(state, n, model))

    def subgoals(self, requests: Sequence[SubgoalRequest]) -> list[SubgoalResponse]:
        """The next sub-goals for several states, in their order; all or none."""
        return self._ask(calls.subgoals(requests))


class SyncExecutorClient(SyncServiceClient):
    """Asks the executor for actions."""

    service = "executor"
    unavailable = ExecutorUnavailable

    def info(self) -> ServiceInfo:
        """What the service has loaded."""
        return self._ask(calls.INFO)

    def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """The `n` best next actions; with `valid_actions`, the best of those."""
        return self._ask(calls.action(state, n, model, valid_actions))

    def actions(self, requests: Sequence[ActionRequest]) -> list[ActionResponse]:
        """The next actions for several states, in their order; all or none."""
        return self._ask(calls.actions(requests))


class SyncEvaluationClient(SyncServiceClient):
    """Submits evaluations to an env-runner and follows them."""

    service = "env-runner"

    def submit(self, request: EvaluationRequest, *, key: str | None = None) -> EvaluationStatus:
        """Have it played: once, however often it is submitted under an idempotency key, by default a new one."""
        return self._ask(calls.submit(request, key))

    def evaluations(self, *, limit: int = 50, cursor: str | None = None) -> EvaluationPage:
        """What was submitted, the newest first; `cursor` is `next_cursor` of the page before."""
        return self._ask(calls.evaluations(limit, cursor))

    def status(self, evaluation_id: str) -> EvaluationStatus:
        """How far it has come."""
        return self._ask(calls.status(evaluation_id))

    def results(self, evaluation_id: str) -> list[EpisodeResult]:
        """All results so far, light."""
        return self._ask(calls.results(evaluation_id))

    def summary(self, evaluation_id: str) -> EvaluationSummary:
        """Means and intervals of the results so far, and the published figures for the same task types."""
        return self._ask(calls.summary(evaluation_id))

    def episodes(self, evaluation_id: str, *, limit: int = 50, cursor: str | None = None) -> EpisodePage:
        """Its episodes in the order of play, finished or not; `cursor` is `next_cursor` of the page before."""
        return self._ask(calls.episodes(evaluation_id, limit, cursor))

    def episode(self, evaluation_id: str, episode_id: str) -> EpisodeResult:
        """One finished episode with every turn."""
        return self._ask(calls.episode(evaluation_id, episode_id))

    def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """Play no more of it."""
        return self._ask(calls.cancel(evaluation_id))

    def resume(self, evaluation_id: str, *, errored: bool = False) -> EvaluationStatus:
        """Play what has no result yet; with `errored`, also what has an error for one."""
        return self._ask(calls.resume(evaluation_id, errored=errored))

    def events(self, evaluation_id: str) -> Iterator[EpisodeResult | EvaluationStatus]:
        """Every result from the first on (light), and the status when it changes, until the evaluation ends.

        A connection that breaks is made again and goes on where it broke.
        """
        cursor = EventCursor(evaluation_id, self._protocol)
        while True:
            try:
                with self._http.stream("GET", cursor.path, headers=cursor.headers()) as response:
                    if response.is_success:
                        decoder = cursor.open(response)
                        for piece in response.iter_bytes():
                            for event in decoder.feed(piece):
                                if (news := cursor.read(event)) is not None:
                                    yield news
                                if cursor.ended:
                                    return
                    else:
                        cursor.broke(read(response))
            except (httpx.TransportError, AnswerRefused) as error:
                cursor.broke(error)
            time.sleep(FIRST_PAUSE)
