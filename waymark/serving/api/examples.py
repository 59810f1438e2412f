"""Examples for the OpenAPI page of every service: one real episode, from its task to its result.

It is the first test variation of task 4-2 (find a non-living thing), which the shipped models solve in three moves.
States, requests and answers are those of that episode. `waymark.serving.api.openapi` puts them beside their routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from waymark import __version__
from waymark.agent import state
from waymark.contracts import (
    DEADLINE_HEADER,
    ActionAlternative,
    ActionRequest,
    ActionResponse,
    AgentState,
    CheckpointInfo,
    Effort,
    EpisodeEntry,
    EpisodePage,
    EpisodeResult,
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    EvaluationSummary,
    FieldProblem,
    MadeBy,
    Problem,
    PublishedColumns,
    PublishedMethod,
    ServiceInfo,
    ServiceLimits,
    SubgoalAlternative,
    SubgoalRequest,
    SubgoalResponse,
    Summary,
    TaskScore,
    Timing,
    TurnRecord,
    Usage,
    Versions,
)
from waymark.serving.api.openai import Choice, Completion, CompletionUsage, ModelCard, ModelList
from waymark.serving.api.openai_request import CompletionRequest
from waymark.worlds.registry import get_format

# --- the episode ------------------------------------------------------------------------------------------

TASK: Final = (
    "Your task is to find a(n) non-living thing. First, focus on the thing. "
    "Then, move it to the orange box in the living room."
)
_STUDIO: Final = (
    "This room is called the art studio. In it, you see: \n"
    "\tthe agent\n"
    "\ta substance called air\n"
    "\ta large cupboard. The large cupboard door is closed. \n"
    "\ta table. On the table is: a bowl (containing nothing).\n"
    "\ta wood cup (containing yellow paint)\n"
    "\ta wood cup (containing blue paint)\n"
    "\ta wood cup (containing red paint)\n"
    "You also see:\n"
    "\tA door to the hallway (that is open)\n"
)
_LIVING_ROOM: Final = (
    "This room is called the living room. In it, you see: \n"
    "\tthe agent\n"
    "\ta substance called air\n"
    "\ta chair. On the chair is: nothing.\n"
    "\ta couch. On the couch is: a white pillow.\n"
    "\ta finger painting\n"
    "\ta orange box (containing nothing)\n"
    "\ta table. On the table is: nothing.\n"
    "You also see:\n"
    "\tA door to the hallway (that is open)\n"
)
_INVENTORY: Final = "In your inventory, you see:\n\tan orange\n"

START: Final = state.start(TASK, _STUDIO, _INVENTORY)
"""Before the first action: no sub-goal yet."""
SENT_OFF: Final = state.with_subgoal(START, "navigate_to(living room)")
"""The controller has named where to go."""
ARRIVED: Final = state.after_step(
    SENT_OFF, "teleport to living room", "You teleport to the living room.", _LIVING_ROOM, _INVENTORY, 17
)
"""One action later; the executor will say that the sub-goal has ended."""
PAINTING: Final = state.with_subgoal(ARRIVED, "focus_on(finger painting)")
"""The controller has named the thing."""


@dataclass(frozen=True)
class Shown:
    """What a route is shown with: each example by a few words that tell what is special about it."""

    answers: Mapping[str, object]
    requests: Mapping[str, object] = field(default_factory=dict)


# --- controller and executor ------------------------------------------------------------------------------

_CONTROLLER: Final = CheckpointInfo(
    model="default",
    checkpoint="waymark-controller",
    sha256="f7558f129fc8f500962d623317f49fda435e638778d1217dfb114006efdc728d",
    role="controller",
    architecture="seq2seq",
    prompt_format="compact",
    history_turns=10,
    parameters=2_771_328,
    max_input_tokens=512,
    max_new_tokens=40,
    engine="ctranslate2",
    dtype="int8_float32",
)
_EXECUTOR: Final = _CONTROLLER.model_copy(
    update={
        "checkpoint": "waymark-executor",
        "sha256": "d9b38cb1e66ef8595918ca5e6170eb59b50cf8ccc2803d1bb05613b8b10dd197",
        "role": "executor",
        "parameters": 2_735_424,
    }
)
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
    checkpoints=(_CONTROLLER,),
    history_turns=10,
    max_batch=32,
    max_queue=1_024,
    limits=_LIMITS,
)
_SUBGOAL: Final = SubgoalResponse(
    subgoal="navigate_to(living room)",
    alternatives=(
        SubgoalAlternative(subgoal="navigate_to(living room)", logprob=-0.2587, mean_logprob=-0.0647),
        SubgoalAlternative(subgoal="navigate_to(outside)", logprob=-3.3365, mean_logprob=-1.1122),
        SubgoalAlternative(subgoal="navigate_to(bedroom)", logprob=-3.4404, mean_logprob=-1.1468),
    ),
    model="default",
    checkpoint_sha256=_CONTROLLER.sha256,
    runtime=_CONTROLLER.runtime,
    usage=Usage(prompt_tokens=62, completion_tokens=10),
    timing_ms=Timing(queue=0.1, tokenise=0.6, model=5.3, total=6.2),
)
_NEXT_SUBGOAL: Final = SubgoalResponse(
    subgoal="focus_on(finger painting)",
    alternatives=(SubgoalAlternative(subgoal="focus_on(finger painting)", logprob=-1.027, mean_logprob=-0.2567),),
    model="default",
    checkpoint_sha256=_CONTROLLER.sha256,
    runtime=_CONTROLLER.runtime,
    usage=Usage(prompt_tokens=69, completion_tokens=4),
    timing_ms=Timing(queue=0.1, tokenise=0.6, model=2.2, total=3.1),
)
_ACTION: Final = ActionResponse(
    action="teleport to living room",
    ended_subgoal=False,
    alternatives=(
        ActionAlternative(action="teleport to living room", ended_subgoal=False, logprob=-0.0147, mean_logprob=-0.0029),
        ActionAlternative(
            action="open door to living room", ended_subgoal=False, logprob=-6.1215, mean_logprob=-1.0203
        ),
    ),
    model="default",
    checkpoint_sha256=_EXECUTOR.sha256,
    runtime=_EXECUTOR.runtime,
    usage=Usage(prompt_tokens=40, completion_tokens=11),
    timing_ms=Timing(queue=0.1, tokenise=0.3, model=1.6, total=2.1),
)
_ENDED: Final = ActionResponse(
    action=None,
    ended_subgoal=True,
    alternatives=(ActionAlternative(action=None, ended_subgoal=True, logprob=-0.0023, mean_logprob=-0.0011),),
    model="default",
    checkpoint_sha256=_EXECUTOR.sha256,
    runtime=_EXECUTOR.runtime,
    usage=Usage(prompt_tokens=39, completion_tokens=2),
    timing_ms=Timing(queue=0.1, tokenise=0.3, model=1.0, total=1.5),
)
_CHOSEN: Final = ActionResponse(
    action="focus on finger painting",
    ended_subgoal=False,
    alternatives=(
        ActionAlternative(
            action="focus on finger painting", ended_subgoal=False, logprob=-0.0179, mean_logprob=-0.0036
        ),
    ),
    model="default",
    checkpoint_sha256=_EXECUTOR.sha256,
    runtime=_EXECUTOR.runtime,
    usage=Usage(prompt_tokens=39, completion_tokens=12),
    timing_ms=Timing(queue=0.1, tokenise=0.3, model=2.1, total=2.5),
)

# --- OpenAI's completions ---------------------------------------------------------------------------------

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


# --- evaluations ------------------------------------------------------------------------------------------

_EVALUATION: Final = "20261122-174938-quick-ef712d"
_EPISODE: Final = "4-2_225_3fe3fd223545"
_ASKED: Final = EvaluationRequest(tasks=("4-2",), variations=(225,))
_VERSIONS: Final = Versions(
    waymark=__version__,
    commit="fce166fedf732f069ff3da810c05f087557f0ea4",
    environment="scienceworld 1.2.3",
    controller=_CONTROLLER,
    executor=_EXECUTOR,
)
_QUEUED: Final = EvaluationStatus(
    id=_EVALUATION,
    request=_ASKED,
    state="queued",
    created="2026-11-22T17:49:38.112+00:00",
    versions=_VERSIONS,
    episodes=1,
    finished=0,
    errored=0,
    running=0,
    agent_name="hierarchical",
)
FINISHED: Final = _QUEUED.model_copy(update={"state": "finished", "finished": 1, "mean_score": 100.0})
_CANCELLED: Final = _QUEUED.model_copy(update={"state": "cancelled"})
_RESULT: Final = EpisodeResult(
    id=_EPISODE,
    evaluation=_EVALUATION,
    task="4-2",
    variation=225,
    seed=0,
    score=100,
    raw_score=100,
    last_nonnegative_score=100,
    success=True,
    moves=3,
    actions=3,
    turns=5,
    model_calls=8,
    tokens=474,
    prompt_tokens=430,
    completion_tokens=44,
    repaired=0,
    stopped="completed",
    seconds=0.66,
    checkpoints=MadeBy(controller=_CONTROLLER.sha256[:12], executor=_EXECUTOR.sha256[:12]),
)
PLAYED: Final = _RESULT.model_copy(
    update={
        "agent": _ASKED.agent,
        "versions": _VERSIONS,
        "trajectory": (
            TurnRecord(
                turn=1,
                subgoal="navigate_to(living room)",
                controller_called=True,
                action="teleport to living room",
                proposed="teleport to living room",
                logprob=-0.0147,
                observation="You teleport to the living room.",
                look=_LIVING_ROOM,
                inventory=_INVENTORY,
                score=17,
                reward=17,
                moves=1,
                seconds=0.23,
            ),
            TurnRecord(
                turn=2,
                subgoal="navigate_to(living room)",
                controller_called=False,
                action=None,
                proposed=None,
                logprob=-0.0023,
                look=_LIVING_ROOM,
                inventory=_INVENTORY,
                score=17,
                moves=1,
                seconds=0.01,
            ),
        ),
    }
)
_EPISODES: Final = EpisodePage(
    items=(EpisodeEntry(id=_EPISODE, task="4-2", variation=225, result=_RESULT),), next_cursor=None
)

_TASK_SCORE: Final = TaskScore(
    id="4-2",
    name="find-non-living-thing",
    group="short",
    episodes=1,
    mean=100.0,
    raw_mean=100.0,
    last_nonnegative_mean=100.0,
    success_rate=1.0,
    ci95=None,
)
_SWIFTSAGE: Final = {"SwiftSage": 100.0}
_SUMMARY: Final = EvaluationSummary(
    evaluation=_EVALUATION,
    summary=Summary(
        episodes=1,
        mean=100.0,
        ci95=None,
        raw_mean=100.0,
        last_nonnegative_mean=100.0,
        success_rate=1.0,
        groups={"short": 100.0},
        tasks=(_TASK_SCORE,),
        effort=Effort(moves=3, actions=3, turns=5, model_calls=8, tokens=474, repaired=0, seconds=0.66),
        errors=(),
    ),
    published=PublishedColumns(
        methods=("SwiftSage",), tasks={"4-2": _SWIFTSAGE}, groups={"short": _SWIFTSAGE}, overall=_SWIFTSAGE
    ),
    methods=(
        PublishedMethod(
            method="SwiftSage",
            model="T5-770M + GPT-4",
            overall=84.68,
            groups={"short": 92.22, "medium": 77.79, "long": 83.0},
            provenance="SwiftSage project page",
        ),
    ),
    notes=("The published agents were evaluated under protocols of their own, so their figures give an orientation.",),
)

# --- beside their routes ----------------------------------------------------------------------------------

ROUTES: Final[Mapping[str, Shown]] = {
    "GET /health/live": Shown({"it runs": {"status": "ok"}}),
    "GET /health/ready": Shown({"it answers": {"status": "ok"}}),
    "POST /v1/subgoal": Shown(
        requests={
            "the first, of three": SubgoalRequest(state=START, n=3),
            "the next": SubgoalRequest(state=ARRIVED),
        },
        answers={"the first, of three": _SUBGOAL, "the next": _NEXT_SUBGOAL},
    ),
    "POST /v1/subgoals": Shown(
        requests={"two states": [SubgoalRequest(state=START, n=3), SubgoalRequest(state=ARRIVED)]},
        answers={"two states": [_SUBGOAL, _NEXT_SUBGOAL]},
    ),
    "POST /v1/action": Shown(
        requests={
            "towards the sub-goal": ActionRequest(state=SENT_OFF, n=2),
            "the sub-goal has ended": ActionRequest(state=ARRIVED),
            "one of these": ActionRequest(
                state=PAINTING, valid_actions=("focus on finger painting", "focus on white pillow", "wait")
            ),
        },
        answers={"towards the sub-goal": _ACTION, "the sub-goal has ended": _ENDED, "one of these": _CHOSEN},
    ),
    "POST /v1/actions": Shown(
        requests={"two states": [ActionRequest(state=SENT_OFF, n=2), ActionRequest(state=ARRIVED)]},
        answers={"two states": [_ACTION, _ENDED]},
    ),
    "GET /v1/models": Shown({"one checkpoint": ModelList(data=(_CARD,))}),
    "GET /v1/models/{model}": Shown({"the default": _CARD}),
    "POST /v1/evaluations": Shown(
        requests={
            "one episode": _ASKED,
            "one episode of each task": EvaluationRequest(),
        },
        answers={"one episode": _QUEUED},
    ),
    "GET /v1/evaluations": Shown({"the last page": EvaluationPage(items=(FINISHED,), next_cursor=None)}),
    "GET /v1/evaluations/{evaluation_id}": Shown({"finished": FINISHED}),
    "GET /v1/evaluations/{evaluation_id}/results": Shown({"one episode": [_RESULT]}),
    "GET /v1/evaluations/{evaluation_id}/summary": Shown({"one episode": _SUMMARY}),
    "GET /v1/evaluations/{evaluation_id}/episodes": Shown({"the last page": _EPISODES}),
    "GET /v1/evaluations/{evaluation_id}/episodes/{episode_id}": Shown({"its first two turns": PLAYED}),
    "GET /v1/evaluations/{evaluation_id}/export": Shown({"one line": PLAYED.model_dump_json() + "\n"}),
    "GET /v1/evaluations/{evaluation_id}/events": Shown(
        {
            "a result": {"event": "episode", "id": "1795369779000-0", "data": _RESULT.model_dump_json()},
            "the end": {"event": "status", "data": FINISHED.model_dump_json()},
        }
    ),
    "POST /v1/evaluations/{evaluation_id}/cancel": Shown({"cancelled": _CANCELLED}),
    "POST /v1/evaluations/{evaluation_id}/resume": Shown({"queued again": _QUEUED}),
}
OWN_ROUTES: Final[Mapping[str, Mapping[str, Shown]]] = {
    "controller": {
        "GET /info": Shown({"controller": _INFO}),
        "POST /v1/completions": _completion(
            _CONTROLLER,
            START,
            "the first sub-goal",
            "navigate_to living room",
            CompletionUsage(prompt_tokens=64, completion_tokens=4, total_tokens=68),
        ),
    },
    "executor": {
        "GET /info": Shown({"executor": _INFO.model_copy(update={"service": "executor", "checkpoints": (_EXECUTOR,)})}),
        "POST /v1/completions": _completion(
            _EXECUTOR,
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
    "evaluation_id": _EVALUATION,
    "episode_id": _EPISODE,
    "model": "default",
    "Idempotency-Key": "d41a6c0e-9b7f-4f0e-8a55-2f6f3c1b7e90",
    DEADLINE_HEADER: 2_000,
}


def _problem(status: int, kind: str, detail: str, field: str | None = None, message: str = "") -> Problem:
    return Problem(
        type=f"urn:waymark:{kind}",
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        request_id="5f0c9a52b6a84c0f8f3d1e7c2b9d4a60",
        errors=() if field is None else (FieldProblem(field=field, message=message),),
    )


PROBLEMS: Final[Mapping[int, Problem]] = {
    one.status: one
    for one in (
        _problem(401, "unauthorized", "The service wants a key. Send `Authorization: Bearer KEY`."),
        _problem(404, "not-found", "There is no evaluation nope. GET /v1/evaluations lists them."),
        _problem(405, "method-not-allowed", "/v1/action does not answer GET; use POST."),
        _problem(413, "input-too-large", "The body is over the limit of 4000000 bytes. Send fewer items or turns."),
        _problem(
            415, "unsupported-media-type", "The body is of no stated type. Send `Content-Type: application/json`."
        ),
        _problem(422, "invalid-input", "state.look: Field required.", "state.look", "Field required"),
        _problem(
            429,
            "queue-full",
            "152 requests with 18103 tokens wait already, for about 0.5 s. Send the request again later.",
        ),
        _problem(500, "internal-error", "The service failed at this request; its log says more under the request id."),
        _problem(503, "service-unavailable", "The controller is starting or shutting down. Try again."),
        _problem(504, "deadline-exceeded", "No answer within the deadline of 50 ms. Allow more time."),
        _problem(
            507, "storage-unavailable", "runs cannot be written: No space left on device. Free space on its disk."
        ),
    )
}
"""What each status of an error looks like."""
