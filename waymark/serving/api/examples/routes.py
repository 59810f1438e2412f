"""The examples that the OpenAPI page shows for each route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from waymark import __version__
from waymark.contracts import (
    DEADLINE_HEADER,
    ActionRequest,
    AgentState,
    CheckpointInfo,
    EpisodeEntry,
    EpisodePage,
    EvaluationPage,
    EvaluationRequest,
    ServiceInfo,
    ServiceLimits,
    SubgoalRequest,
)
from waymark.serving.api.examples.episode import (
    ACTION,
    ARRIVED,
    CANCELLED,
    CHOSEN,
    CONTROLLER,
    ENDED,
    EXECUTOR,
    FINISHED,
    NEXT_SUBGOAL,
    PAINTING,
    PLAYED,
    QUEUED,
    REQUEST,
    RESULT,
    SENT_OFF,
    START,
    SUBGOAL,
    SUMMARY,
)
from waymark.serving.api.openai import Choice, Completion, CompletionUsage, ModelCard, ModelList
from waymark.serving.api.openai_request import CompletionRequest
from waymark.worlds.registry import get_format


@dataclass(frozen=True)
class Shown:
    """The examples of a route, each with a short description."""

    answers: Mapping[str, object]
    requests: Mapping[str, object] = field(default_factory=dict)


_LIMITS: Final = ServiceLimits(
    items=64,
    turns=1_000,
    alternatives=16,
    candidates=256,
    input_tokens=8_192,
    body_bytes=4_000_000,
    queue=1_024,
    queue_tokens=524_288,
    queue_seconds=0.5,
    request_tokens=163_840,
)
_INFO: Final = ServiceInfo(
    service="controller",
    version=__version__,
    checkpoints=(CONTROLLER,),
    history_turns=10,
    max_batch=32,
    max_queue=1_024,
    limits=_LIMITS,
)
_CARD: Final = ModelCard(id="default", created=1_795_368_000, root="waymark-controller", max_model_len=512)


def _completion(checkpoint: CheckpointInfo, seen: AgentState, words: str, text: str, usage: CompletionUsage) -> Shown:
    """A state as the checkpoint's own prompt, and what it writes."""
    prompt = get_format(checkpoint.prompt_format).render(checkpoint.role, seen)
    answer = Completion(
        id="cmpl-5d7e1c0b2f9a4e6d8c3b7a10",
        created=1_795_370_000,
        model="default",
        system_fingerprint=checkpoint.sha256,
        choices=(Choice(index=0, text=text, finish_reason="stop"),),
        usage=usage,
    )
    return Shown({words: answer}, {words: CompletionRequest(model="default", prompt=prompt, temperature=0)})


_EPISODES: Final = EpisodePage(
    items=(EpisodeEntry(id=RESULT.id, task="4-2", variation=225, result=RESULT),), next_cursor=None
)

ROUTES: Final[Mapping[str, Shown]] = {
    "GET /health/live": Shown({"it runs": {"status": "ok"}}),
    "GET /health/ready": Shown({"it answers": {"status": "ok"}}),
    "POST /v1/subgoal": Shown(
        requests={
            "the first, of three": SubgoalRequest(state=START, n=3),
            "the next": SubgoalRequest(state=ARRIVED),
        },
        answers={"the first, of three": SUBGOAL, "the next": NEXT_SUBGOAL},
    ),
    "POST /v1/subgoals": Shown(
        requests={"two states": [SubgoalRequest(state=START, n=3), SubgoalRequest(state=ARRIVED)]},
        answers={"two states": [SUBGOAL, NEXT_SUBGOAL]},
    ),
    "POST /v1/action": Shown(
        requests={
            "towards the sub-goal": ActionRequest(state=SENT_OFF, n=2),
            "the sub-goal has ended": ActionRequest(state=ARRIVED),
            "one of these": ActionRequest(
                state=PAINTING, valid_actions=("focus on finger painting", "focus on white pillow", "wait")
            ),
        },
        answers={"towards the sub-goal": ACTION, "the sub-goal has ended": ENDED, "one of these": CHOSEN},
    ),
    "POST /v1/actions": Shown(
        requests={"two states": [ActionRequest(state=SENT_OFF, n=2), ActionRequest(state=ARRIVED)]},
        answers={"two states": [ACTION, ENDED]},
    ),
    "GET /v1/models": Shown({"one checkpoint": ModelList(data=(_CARD,))}),
    "GET /v1/models/{model}": Shown({"the default": _CARD}),
    "POST /v1/evaluations": Shown(
        requests={
            "one episode": REQUEST,
            "one episode of each task": EvaluationRequest(),
        },
        answers={"one episode": QUEUED},
    ),
    "GET /v1/evaluations": Shown({"the last page": EvaluationPage(items=(FINISHED,), next_cursor=None)}),
    "GET /v1/evaluations/{evaluation_id}": Shown({"finished": FINISHED}),
    "GET /v1/evaluations/{evaluation_id}/results": Shown({"one episode": [RESULT]}),
    "GET /v1/evaluations/{evaluation_id}/summary": Shown({"one episode": SUMMARY}),
    "GET /v1/evaluations/{evaluation_id}/episodes": Shown({"the last page": _EPISODES}),
    "GET /v1/evaluations/{evaluation_id}/episodes/{episode_id}": Shown({"its first two turns": PLAYED}),
    "GET /v1/evaluations/{evaluation_id}/export": Shown({"one line": PLAYED.model_dump_json() + "\n"}),
    "GET /v1/evaluations/{evaluation_id}/events": Shown(
        {
            "a result": {"event": "episode", "id": "1795369779000-0", "data": RESULT.model_dump_json()},
            "the end": {"event": "status", "data": FINISHED.model_dump_json()},
        }
    ),
    "POST /v1/evaluations/{evaluation_id}/cancel": Shown({"cancelled": CANCELLED}),
    "POST /v1/evaluations/{evaluation_id}/resume": Shown({"queued again": QUEUED}),
}
OWN_ROUTES: Final[Mapping[str, Mapping[str, Shown]]] = {
    "controller": {
        "GET /info": Shown({"controller": _INFO}),
        "POST /v1/completions": _completion(
            CONTROLLER,
            START,
            "the first sub-goal",
            "navigate_to living room",
            CompletionUsage(prompt_tokens=64, completion_tokens=4, total_tokens=68),
        ),
    },
    "executor": {
        "GET /info": Shown({"executor": _INFO.model_copy(update={"service": "executor", "checkpoints": (EXECUTOR,)})}),
        "POST /v1/completions": _completion(
            EXECUTOR,
            SENT_OFF,
            "towards the sub-goal",
            "teleport to living room",
            CompletionUsage(prompt_tokens=40, completion_tokens=5, total_tokens=45),
        ),
    },
    "env-runner": {
        "GET /info": Shown(
            {"env-runner": {"service": "env-runner", "version": __version__, "environment": "scienceworld 1.2.3"}}
        )
    },
}
"""Routes that differ from service to service."""
PARAMETERS: Final[Mapping[str, object]] = {
    "evaluation_id": QUEUED.id,
    "episode_id": RESULT.id,
    "model": "default",
    "Idempotency-Key": "d41a6c0e-9b7f-4f0e-8a55-2f6f3c1b7e90",
    DEADLINE_HEADER: 2_000,
}
