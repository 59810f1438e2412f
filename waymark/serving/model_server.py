"""Where requests meet models: one batcher a model, and the decisions that they make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from waymark.contracts import DecisionRequest
from waymark.errors import InvalidInput
from waymark.inference.batching import Answer, Batcher, Observer, QueueCapacity, Work
from waymark.serving import request_limits
from waymark.serving.admission import Admission
from waymark.serving.decisions import Decided, Question
from waymark.serving.loaded_models import Models, ServedModel, costs_of, warm_up
from waymark.serving.middleware.callers import caller
from waymark.serving.settings import Service, ServiceSettings
from waymark.serving.telemetry import tracing


class ModelServer:
    """The models of one service, which it owns, and what waits for them.

    `observe` gives each model's batcher, by the model's name, who is told what it does.
    """

    def __init__(
        self,
        service: Service,
        models: Models,
        settings: ServiceSettings,
        observe: Callable[[str], Observer] = lambda _: Observer(),
    ) -> None:
        self.service = service
        self.models = models
        self.limits = request_limits.limits_of(settings)
        self.capacity = QueueCapacity(
            settings.max_queue,
            settings.max_queue_tokens,
            max_seconds=settings.max_queue_seconds,
            always=self.limits.items,
        )
        self._batchers = {
            name: Batcher(
                model.generator,
                self.capacity,
                max_batch=settings.max_batch,
                max_batch_tokens=settings.max_batch_tokens,
                max_input_tokens=settings.max_input_tokens,
                max_wait=settings.max_wait_ms / 1000,
                costs=costs_of(model),
                max_cost=settings.max_request_tokens,
                observer=observe(name),
            )
            for name, model in models.items()
        }
        self.admission = Admission(service, models, self._batchers, self.capacity)

    def warm_up(self) -> None:
        """Have each model answer once, then open. Blocks; in any thread. Raises what an engine does."""
        warm_up(self.models)
        self.open()

    def open(self) -> None:
        """Begin to answer."""
        for batcher in self._batchers.values():
            batcher.start()
        self.admission.open()

    def drain(self) -> None:
        """Admit nothing more; what runs and waits is answered. May be called from a signal handler."""
        self.admission.drain()

    async def close(self) -> None:
        """Give up what still waits, and free the models."""
        self.drain()
        await asyncio.gather(*(asyncio.to_thread(batcher.close) for batcher in self._batchers.values()))

    def model(self, name: str) -> ServedModel:
        """The model of that name. Raises InvalidInput that names those that are loaded."""
        if name not in self.models:
            raise InvalidInput(
                f"No model {name!r} is loaded.", remedy=f"Loaded: {', '.join(self.models)}.", field="model"
            )
        return self.models[name]

    async def ask(self, name: str, works: Sequence[Work], *, deadline_ms: int | None = None) -> list[Answer]:
        """What one model says. Raises what `Batcher.submit` does."""
        self.admission.check_ready()
        within = None if deadline_ms is None else deadline_ms / 1000
        answers = await self._batchers[name].submit(works, within=within, caller=caller())
        first = answers[0]
        tracing.note(queue_ms=first.queue_ms, tokenise_ms=first.tokenise_ms, model_ms=first.model_ms)
        return answers

    async def decide(
        self, requests: Sequence[DecisionRequest], *, listed: bool = False, deadline_ms: int | None = None
    ) -> list[Decided]:
        """The decisions for some requests, all or none. Raises InvalidInput that names the field.

        The nearest of the deadlines holds for all. `listed` requests are named in errors by their number.
        """
        self.admission.check_ready()
        request_limits.check_items(len(requests), self.limits)
        questions = [self._question(request, f"{number}." if listed else "") for number, request in enumerate(requests)]
        deadlines = [deadline_ms, *(request.deadline_ms for request in requests)]
        nearest = min((seconds for seconds in deadlines if seconds is not None), default=None)
        answers = await self._answers(questions, deadline_ms=nearest)
        return [question.read(answer) for question, answer in zip(questions, answers, strict=True)]

    async def _answers(self, questions: Sequence[Question], *, deadline_ms: int | None) -> list[Answer]:
        """Each model answers its part of the work; when one cannot, the others' parts are given up."""
        names = [question.model.info.model for question in questions]
        if len(set(names)) == 1:
            return await self.ask(names[0], [question.work for question in questions], deadline_ms=deadline_ms)
        answers: dict[int, Answer] = {}

        async def ask(name: str) -> None:
            places = [place for place, other_name in enumerate(names) if other_name == name]
            model_answers = await self.ask(name, [questions[place].work for place in places], deadline_ms=deadline_ms)
            answers.update(zip(places, model_answers, strict=True))

        asking = [asyncio.ensure_future(ask(name)) for name in dict.fromkeys(names)]
        try:
            await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
        return [answers[place] for place in range(len(questions))]

    def _question(self, request: DecisionRequest, path: str) -> Question:
        try:
            request_limits.check(request, self.limits)
            return Question(self._choose(request), request, path)
        except InvalidInput as error:
            error.field = f"{path}{error.field}"
            raise

    def _choose(self, request: DecisionRequest) -> ServedModel:
        """The model that a request names; `first` stands in for the controller's default before the first turn."""
        state = request.state
        begins = not state.turns and state.current_subgoal is None
        if request.model == "default" and begins and "first" in self.models:
            return self.models["first"]
        return self.model(request.model)
