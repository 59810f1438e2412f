"""The controller and the executor, from one factory: a request's way from state to decision.

A state is rendered by the checkpoint's own prompt format, answered by its batcher, and what the model wrote is
read back by the same format. Both services differ only in their routes and in what a decision is called.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI
from pydantic import Field

from waymark import __version__
from waymark.contracts import (
    ActionAlternative,
    ActionRequest,
    ActionResponse,
    Contract,
    DecisionRequest,
    ServiceInfo,
    SubgoalAlternative,
    SubgoalRequest,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.errors import InvalidInput, ServiceUnavailable, UnparsableAction, WaymarkError
from waymark.generation import Candidate
from waymark.generation.batcher import Answer, Batcher, Work
from waymark.serving import problems
from waymark.serving.models import Models, ServedModel
from waymark.serving.settings import Service, ServiceSettings

_SubgoalRequests = Annotated[list[SubgoalRequest], Field(min_length=1, max_length=64)]
_ActionRequests = Annotated[list[ActionRequest], Field(min_length=1, max_length=64)]
_NOTHING_SAID = "(no answer)"
_LONGEST_DECISION = 500
"""Of the contracts' `Phrase`: a decision goes back into the next state."""


class Health(Contract):
    """Answer of the health routes."""

    status: Literal["ok"] = "ok"


@dataclass(frozen=True, slots=True)
class _Decision:
    """One thing that a model may have meant; `text` is null when it ends the sub-goal."""

    text: str | None
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class _Decided:
    """The decisions for one request, best first, and what they cost."""

    decisions: tuple[_Decision, ...]
    model: str
    usage: Usage
    queue_ms: float
    model_ms: float


class _Desk:
    """The models of one service, each behind its batcher, and whether they answer yet."""

    def __init__(self, service: Service, models: Models, settings: ServiceSettings) -> None:
        self._service = service
        self.models = models
        self._batchers = {
            name: Batcher(model.generator, max_batch=settings.max_batch, max_queue=settings.max_queue)
            for name, model in models.items()
        }
        self.ready = False

    def open(self) -> None:
        """Begin to answer."""
        for batcher in self._batchers.values():
            batcher.start()
        self.ready = True

    async def close(self) -> None:
        """Answer what waits, then free the models."""
        self.ready = False
        await asyncio.gather(*(asyncio.to_thread(batcher.close) for batcher in self._batchers.values()))

    async def decide(self, requests: Sequence[DecisionRequest], *, listed: bool) -> list[_Decided]:
        """The decisions for some requests, all or none. Raises InvalidInput that names the field."""
        if not self.ready:
            raise ServiceUnavailable(f"The {self._service} is starting or shutting down.", remedy="Try again.")
        chosen, works = [], []
        for number, request in enumerate(requests):
            try:
                model = self._choose(request)
                chosen.append(model)
                works.append(_work(model, request))
            except InvalidInput as error:
                if listed and error.field is not None:
                    error.field = f"{number}.{error.field}"
                raise
        deadlines = [request.deadline_ms / 1000 for request in requests if request.deadline_ms is not None]
        answers = await self._answers(chosen, works, within=min(deadlines, default=None))
        return [
            _decided(model, request, answer) for model, request, answer in zip(chosen, requests, answers, strict=True)
        ]

    async def _answers(
        self, chosen: Sequence[ServedModel], works: Sequence[Work], *, within: float | None
    ) -> list[Answer]:
        """Each model answers its part of the work; when one cannot, the others' parts are given up."""
        names = [model.info.model for model in chosen]
        answers: dict[int, Answer] = {}

        async def ask(name: str) -> None:
            places = [place for place, each in enumerate(names) if each == name]
            found = await self._batchers[name].submit([works[place] for place in places], within=within)
            answers.update(zip(places, found, strict=True))

        asking = [asyncio.ensure_future(ask(name)) for name in dict.fromkeys(names)]
        try:
            await asyncio.gather(*asking)
        finally:
            for each in asking:
                each.cancel()
        return [answers[place] for place in range(len(works))]

    def _choose(self, request: DecisionRequest) -> ServedModel:
        """The model that a request names; `first` stands in for the controller's default before the first turn."""
        state = request.state
        begins = not state.turns and state.current_subgoal is None
        if request.model == "default" and begins and "first" in self.models:
            return self.models["first"]
        if request.model not in self.models:
            raise InvalidInput(
                f"No model {request.model!r} is loaded.", remedy=f"Loaded: {', '.join(self.models)}.", field="model"
            )
        return self.models[request.model]


def create_app(service: Service, models: Models, settings: ServiceSettings) -> FastAPI:
    """The app of a service over its loaded models, which it owns: they are closed when it shuts down."""
    desk = _Desk(service, models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        await desk.close()

    app = FastAPI(title=f"Waymark {service}", version=__version__, lifespan=lifespan)
    problems.install(app, max_body_bytes=settings.max_body_bytes)
    app.include_router(_about(service, desk, settings))
    app.include_router(_subgoals(desk) if service == "controller" else _actions(desk))
    return app


def _about(service: Service, desk: _Desk, settings: ServiceSettings) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/health/live")
    async def live() -> Health:
        """The process runs."""
        return Health()

    @router.get("/health/ready", responses=problems.describe(503))
    async def ready() -> Health:
        """The models are warm and requests are answered."""
        if not desk.ready:
            raise ServiceUnavailable(f"The {service} is starting or shutting down.", remedy="Try again.")
        return Health()

    @router.get("/info")
    async def info() -> ServiceInfo:
        """What is loaded, and the limits."""
        checkpoints = tuple(model.info for model in desk.models.values())
        return ServiceInfo(
            service=service,
            version=__version__,
            checkpoints=checkpoints,
            history_turns=max(one.history_turns for one in checkpoints),
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
        )

    return router


def _subgoals(desk: _Desk) -> APIRouter:
    router = APIRouter(tags=["controller"], responses=problems.describe(413, 422, 429, 503, 504))

    async def answer(requests: Sequence[SubgoalRequest], *, listed: bool) -> list[SubgoalResponse]:
        started = time.perf_counter()
        found = await desk.decide(requests, listed=listed)
        return [_subgoal_response(one, started) for one in found]

    @router.post("/v1/subgoal")
    async def subgoal(request: SubgoalRequest) -> SubgoalResponse:
        """The next sub-goal for a state."""
        return (await answer([request], listed=False))[0]

    @router.post("/v1/subgoals")
    async def subgoals(requests: _SubgoalRequests) -> list[SubgoalResponse]:
        """The next sub-goals for several states, in their order."""
        return await answer(requests, listed=True)

    return router


def _actions(desk: _Desk) -> APIRouter:
    router = APIRouter(tags=["executor"], responses=problems.describe(413, 422, 429, 503, 504))

    async def answer(requests: Sequence[ActionRequest], *, listed: bool) -> list[ActionResponse]:
        started = time.perf_counter()
        found = await desk.decide(requests, listed=listed)
        return [_action_response(one, started) for one in found]

    @router.post("/v1/action")
    async def action(request: ActionRequest) -> ActionResponse:
        """The next action for a state and its current sub-goal."""
        return (await answer([request], listed=False))[0]

    @router.post("/v1/actions")
    async def actions(requests: _ActionRequests) -> list[ActionResponse]:
        """The next actions for several states, in their order."""
        return await answer(requests, listed=True)

    return router


def _work(model: ServedModel, request: DecisionRequest) -> Work:
    prompt = model.format.render(model.role, request.state)
    valid = _valid_actions(request)
    if valid is None:
        return Work(prompt, n=request.n)
    return Work(prompt, candidates=tuple(_targets(model, valid)))


def _valid_actions(request: DecisionRequest) -> tuple[str, ...] | None:
    return request.valid_actions if isinstance(request, ActionRequest) else None


def _targets(model: ServedModel, valid: Sequence[str]) -> dict[str, str]:
    """What the model would write for each valid action, and the action. Raises InvalidInput that names one."""
    targets: dict[str, str] = {}
    for number, action in enumerate(valid):
        try:
            targets.setdefault(model.format.target(model.role, action), action)
        except UnparsableAction as error:
            raise InvalidInput(error.message, remedy=error.remedy, field=f"valid_actions.{number}") from error
    return targets


def _decided(model: ServedModel, request: DecisionRequest, answer: Answer) -> _Decided:
    candidates = answer.generation.candidates
    valid = _valid_actions(request)
    if valid is None:
        decisions = _read(model, candidates)
    else:
        actions = _targets(model, valid)
        decisions = [_Decision(text=actions[one.text], candidate=one) for one in candidates]
    return _Decided(
        decisions=tuple(decisions[: request.n]),
        model=model.info.model,
        usage=Usage(
            prompt_tokens=answer.generation.prompt_tokens,
            completion_tokens=sum(one.tokens for one in candidates),
            truncated_tokens=answer.generation.truncated_tokens,
        ),
        queue_ms=answer.queue_ms,
        model_ms=answer.model_ms,
    )


def _read(model: ServedModel, candidates: Sequence[Candidate]) -> list[_Decision]:
    """What the model meant, without repetitions. If nothing of it can be read: its own words, best candidate's."""
    decisions: dict[str | None, _Decision] = {}
    for one in candidates:
        try:
            text = model.format.parse(model.role, one.text)
        except WaymarkError:
            continue
        text = text if text is None else text[:_LONGEST_DECISION]
        decisions.setdefault(text, _Decision(text=text, candidate=one))
    if not decisions:
        best = candidates[0]
        return [_Decision(text=best.text[:_LONGEST_DECISION] or _NOTHING_SAID, candidate=best)]
    return list(decisions.values())


def _timing(decided: _Decided, started: float) -> Timing:
    total = (time.perf_counter() - started) * 1000
    return Timing(queue=round(decided.queue_ms, 3), model=round(decided.model_ms, 3), total=round(total, 3))


def _subgoal_response(decided: _Decided, started: float) -> SubgoalResponse:
    alternatives = tuple(
        SubgoalAlternative(
            subgoal=one.text or _NOTHING_SAID,
            logprob=one.candidate.logprob,
            mean_logprob=one.candidate.mean_logprob,
        )
        for one in decided.decisions
    )
    return SubgoalResponse(
        subgoal=alternatives[0].subgoal,
        alternatives=alternatives,
        model=decided.model,
        usage=decided.usage,
        timing_ms=_timing(decided, started),
    )


def _action_response(decided: _Decided, started: float) -> ActionResponse:
    alternatives = tuple(
        ActionAlternative(
            action=one.text,
            ended_subgoal=one.text is None,
            logprob=one.candidate.logprob,
            mean_logprob=one.candidate.mean_logprob,
        )
        for one in decided.decisions
    )
    return ActionResponse(
        action=alternatives[0].action,
        ended_subgoal=alternatives[0].ended_subgoal,
        alternatives=alternatives,
        model=decided.model,
        usage=decided.usage,
        timing_ms=_timing(decided, started),
    )
