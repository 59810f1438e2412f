"""What can be asked of each service: the request, and the type of its response. No input or output."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from waymark.clients import answer_limits
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

Response = TypeVar("Response")

READY: Final = "/health/ready"
EVALUATIONS: Final = "/v1/evaluations"
_LARGEST_RESULTS: Final = 1_024 * answer_limits.MEGABYTE
"""All results of one evaluation."""


@dataclass(frozen=True)
class Call(Generic[Response]):
    """One thing to ask of a service, and the type of its response."""

    response: type[Response]
    method: str
    path: str
    body: BaseModel | Sequence[BaseModel] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    largest: int = answer_limits.LARGEST
    """Bytes of an answer; a larger one is refused."""

    @cached_property
    def content(self) -> bytes | None:
        """The body as JSON."""
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json().encode()
        if self.body is None:
            return None
        return b"[%s]" % b",".join(request.model_dump_json().encode() for request in self.body)


INFO: Final = Call(ServiceInfo, "GET", "/info")
"""What a service has loaded."""


def subgoal(state: AgentState, n: int, model: str) -> Call[SubgoalResponse]:
    """`POST /v1/subgoal`: the next sub-goal."""
    return Call(SubgoalResponse, "POST", "/v1/subgoal", SubgoalRequest(state=state, n=n, model=model))


def subgoals(requests: Sequence[SubgoalRequest]) -> Call[list[SubgoalResponse]]:
    """`POST /v1/subgoals`: for several states."""
    return Call(list[SubgoalResponse], "POST", "/v1/subgoals", requests)


def action(state: AgentState, n: int, model: str, valid_actions: Sequence[str] | None) -> Call[ActionResponse]:
    """`POST /v1/action`: the next action."""
    valid = None if valid_actions is None else tuple(valid_actions)
    return Call(ActionResponse, "POST", "/v1/action", ActionRequest(state=state, n=n, model=model, valid_actions=valid))


def actions(requests: Sequence[ActionRequest]) -> Call[list[ActionResponse]]:
    """`POST /v1/actions`: for several states."""
    return Call(list[ActionResponse], "POST", "/v1/actions", requests)


def submit(request: EvaluationRequest, key: str | None) -> Call[EvaluationStatus]:
    """`POST /v1/evaluations`: play an evaluation. Without a key, under a new one."""
    headers = {"idempotency-key": key or uuid.uuid4().hex}
    return Call(EvaluationStatus, "POST", EVALUATIONS, request, headers=headers)


def _page(limit: int, cursor: str | None) -> Mapping[str, str]:
    return {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})


def evaluations(limit: int, cursor: str | None) -> Call[EvaluationPage]:
    """`GET /v1/evaluations`: one page of them."""
    return Call(EvaluationPage, "GET", EVALUATIONS, query=_page(limit, cursor))


def status(evaluation_id: str) -> Call[EvaluationStatus]:
    """`GET /v1/evaluations/{id}`: how far it is."""
    return Call(EvaluationStatus, "GET", f"{EVALUATIONS}/{evaluation_id}")


def results(evaluation_id: str) -> Call[list[EpisodeResult]]:
    """`GET …/results`: all results so far, light."""
    path = f"{EVALUATIONS}/{evaluation_id}/results"
    return Call(list[EpisodeResult], "GET", path, largest=_LARGEST_RESULTS)


def summary(evaluation_id: str) -> Call[EvaluationSummary]:
    """`GET …/summary`: the results in figures."""
    return Call(EvaluationSummary, "GET", f"{EVALUATIONS}/{evaluation_id}/summary")


def episodes(evaluation_id: str, limit: int, cursor: str | None) -> Call[EpisodePage]:
    """`GET …/episodes`: one page of them."""
    return Call(EpisodePage, "GET", f"{EVALUATIONS}/{evaluation_id}/episodes", query=_page(limit, cursor))


def episode(evaluation_id: str, episode_id: str) -> Call[EpisodeResult]:
    """`GET …/episodes/{id}`: one, with every turn."""
    return Call(EpisodeResult, "GET", f"{EVALUATIONS}/{evaluation_id}/episodes/{episode_id}")


def cancel(evaluation_id: str) -> Call[EvaluationStatus]:
    """`POST …/cancel`: play no more of it."""
    return Call(EvaluationStatus, "POST", f"{EVALUATIONS}/{evaluation_id}/cancel")


def resume(evaluation_id: str, *, errored: bool) -> Call[EvaluationStatus]:
    """`POST …/resume`: play what has no result, or an error for one."""
    query = {"errored": "true"} if errored else {}
    return Call(EvaluationStatus, "POST", f"{EVALUATIONS}/{evaluation_id}/resume", query=query)
