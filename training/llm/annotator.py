"""Annotates all paths with one chat model: a second example for each task type, repair calls, and failures that do not
stop the run.

The first path of a task type that the model annotates well becomes the second example of all others of this type. It is
stored, so that later runs show the same one. Perturbations of a path are not shown, because they are not trained on;
they keep the sub-goals of the rule annotator.

A path whose answers cannot be used, or whose requests fail permanently, is a `Failure` with its reason. Unusable
answers are set aside, so that a rerun requests only these again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from training.annotations import Annotation, annotate_by_rule
from training.llm import alignment, prompts
from training.llm.breaker import Breaker
from training.llm.budget import Budget, Prices
from training.llm.prompts import AnnotationPrompts, Named, WorkedExample
from training.llm.stored_answers import ChatModel, DiskCache
from training.trajectories import PathKey, Trajectory
from waymark.clients.chat import Answer, Message, as_json
from waymark.errors import AnnotationFailed, EndpointUnusable, ServiceError
from waymark.worlds.base import Segment
from waymark.worlds.registry import world_of_task

REPAIRS: Final = 2
"""Largest number of further questions about actions that the model left out."""


@dataclass(frozen=True)
class Annotated:
    """A path's sub-goals, and the corrections of their alignment."""

    annotation: Annotation
    extra: int
    """Number of actions of the answers that are not in the path and were dropped."""
    joined: int
    """Number of single actions that the answers left out and that were added to the sub-goal before them."""
    repairs: int
    """Number of further calls about several actions in a row that an answer left out."""

    @property
    def key(self) -> PathKey:
        """The trajectory's."""
        return self.annotation.key


@dataclass(frozen=True)
class Failure:
    """A path without annotation, the reason, and the files in the cache folder with its unusable answers."""

    task_id: str
    variation: int
    take: int
    reason: str
    answers: list[str]

    @property
    def key(self) -> PathKey:
        """The trajectory's."""
        return self.task_id, self.variation, self.take


Outcome = Annotated | Failure


class LLMAnnotator:
    """Annotates paths of one world with one chat model, one task type's examples shared by all its paths.

    After `give_up_after` requests in a row that failed, only answers that are on disk are used; 0: never. The same
    once `budget` is spent.
    """

    def __init__(
        self,
        model: ChatModel,
        annotation_prompts: AnnotationPrompts,
        give_up_after: int = 0,
        budget: Budget | None = None,
    ) -> None:
        self._model = model
        self.budget = budget or Budget(None, None, model.usage)
        self.breaker = Breaker(give_up_after)
        self._opening = prompts.opening(annotation_prompts)
        self._examples = DiskCache(model.answers.folder / "examples", WorkedExample)
        self.name = f"llm:{model.endpoint.model}"

    async def annotate(self, trajectories: Sequence[Trajectory], done: Callable[[Outcome], None]) -> None:
        """Annotate all of them, as many at once as the model's limits allow; `done` is told of each.

        Raises EndpointUnusable as soon as it is clear that no request can succeed, and OSError as soon as an answer
        cannot be stored.
        """
        by_task: dict[str, list[Trajectory]] = defaultdict(list)
        for trajectory in trajectories:
            by_task[trajectory.task_id].append(trajectory)
        fatal: list[EndpointUnusable | OSError] = []
        async with anyio.create_task_group() as group:

            @contextmanager
            def fatal_to_all() -> Iterator[None]:
                try:
                    yield
                except (EndpointUnusable, OSError) as error:
                    fatal.append(error)
                    group.cancel_scope.cancel()

            async def annotate_path(trajectory: Trajectory, example: WorkedExample | None) -> Outcome | None:
                with fatal_to_all():
                    outcome = await self._outcome(trajectory, example)
                    done(outcome)
                    return outcome
                return None

            async def all_of(task_id: str) -> None:
                example = self._examples.get(self._example_key(task_id))
                waiting = from_the_middle(by_task[task_id])
                while waiting and not example:
                    trajectory = waiting.pop(0)
                    outcome = await annotate_path(trajectory, None)
                    if isinstance(outcome, Annotated):
                        with fatal_to_all():
                            example = self._keep_example(trajectory, outcome.annotation)
                for trajectory in waiting:
                    group.start_soon(annotate_path, trajectory, example)

            for task_id in by_task:
                group.start_soon(all_of, task_id)
        if fatal:
            raise fatal[0]

    def _conversation(self, trajectory: Trajectory, example: WorkedExample | None) -> list[Message]:
        """The messages for a path. The path of the second example is asked without that example."""
        asked = question(trajectory)
        second = prompts.shown(example) if example else []
        return [*self._opening, *(second if asked not in second else []), asked]

    async def _outcome(self, trajectory: Trajectory, example: WorkedExample | None) -> Outcome:
        keys: list[str] = []
        try:
            return await self._annotate(trajectory, example, keys)
        except EndpointUnusable:
            raise
        except ServiceError as error:
            return Failure(*trajectory.key, str(error), [])
        except AnnotationFailed as error:
            aside = [self._model.answers.set_aside(key) for key in keys]
            return Failure(*trajectory.key, str(error), aside)

    async def _annotate(self, trajectory: Trajectory, example: WorkedExample | None, keys: list[str]) -> Annotated:
        actions = shown_actions(trajectory)
        messages = self._conversation(trajectory, example)
        aligned = alignment.Alignment(actions, world_of_task(trajectory.task_id).grammar)
        answer = await self._ask(messages, keys)
        aligned.take(prompts.read(answer.text))
        while (runs := aligned.missing()) and len(keys) <= REPAIRS:
            again = prompts.repair([actions[run.start : run.stop] for run in runs])
            messages = [*messages, {"role": "assistant", "content": answer.text}, again]
            answer = await self._ask(messages, keys)
            aligned.take(prompts.read(answer.text))
        if runs:
            raise AnnotationFailed(_reason(sum(map(len, runs)), len(actions), answer))
        segments = with_detours(trajectory, aligned.segments())
        annotation = Annotation(trajectory.task_id, trajectory.variation, self.name, segments, trajectory.take)
        return Annotated(annotation, aligned.extra, aligned.joined, len(keys) - 1)

    async def _ask(self, messages: Sequence[Message], keys: list[str]) -> Answer:
        key = self._model.key({"messages": as_json(messages)})
        is_kept = self._model.answers.get(key) is not None
        # What is on disk says nothing about the endpoint.
        ask = partial(self._model.ask, messages)
        if is_kept:
            key, answer = await ask()
        else:
            key, answer = await self._pay(messages, ask)
        keys.append(key)
        return answer

    async def _pay(
        self, messages: Sequence[Message], ask: Callable[[], Awaitable[tuple[str, Answer]]]
    ) -> tuple[str, Answer]:
        cost, answer = self.budget.begin(messages), None
        try:
            key, answer = await self.breaker.call(ask)
        finally:
            self.budget.end(cost, answer)
        return key, answer

    def _keep_example(self, trajectory: Trajectory, annotation: Annotation) -> WorkedExample:
        named = tuple(
            Named(
                subgoal=segment.subgoal,
                actions=tuple(step.action for step in trajectory.steps[segment.start : segment.stop]),
            )
            for segment in annotation.segments
            if segment.stop > segment.start and not trajectory.steps[segment.start].detour
        )
        example = WorkedExample(task=trajectory.task, named=named)
        self._examples.put(self._example_key(trajectory.task_id), example)
        return example

    def _example_key(self, task_id: str) -> str:
        return self._model.key({"example of": task_id, "opening": as_json(self._opening)})


def question(trajectory: Trajectory) -> Message:
    """The message that asks for a path's sub-goals."""
    return prompts.asked(trajectory.task, shown_actions(trajectory))


def shown_actions(trajectory: Trajectory) -> list[str]:
    """The actions that the model has to name: a path without its perturbations."""
    return [step.action for step in trajectory.steps if not step.detour]


def with_detours(trajectory: Trajectory, segments: Sequence[Segment]) -> list[Segment]:
    """Convert segments of the shown actions to segments of the path. Each perturbation becomes a segment."""
    owners = iter(
        [
            (number, segment.subgoal)
            for number, segment in enumerate(segments)
            for _ in range(segment.start, segment.stop)
        ]
    )
    by_rule = {segment.start: segment.subgoal for segment in annotate_by_rule(trajectory).segments}
    return alignment.segments(
        (-1 - index, by_rule[index]) if step.detour else next(owners) for index, step in enumerate(trajectory.steps)
    )


def from_the_middle(paths: Sequence[Trajectory]) -> list[Trajectory]:
    """Paths by how close their length is to the median: the first is the most typical one, and makes the example."""
    median = sorted(len(path.steps) for path in paths)[len(paths) // 2]
    return sorted(paths, key=lambda path: abs(len(path.steps) - median))


def _reason(missing: int, actions: int, answer: Answer) -> str:
    """Why a path failed, from what is missing after the last answer."""
    if not prompts.read(answer.text):
        reason = "The model's answer holds no sub-goals in the form asked for"
    else:
        reason = f"The model's answers leave {missing} of {actions} actions in no sub-goal"
    if answer.finish_reason == "length":
        return f"{reason}; the last one was cut off at its token limit. Raise max_tokens in --parameters."
    return f"{reason} (finish_reason {answer.finish_reason})."


def _unaligned(annotated: Annotated) -> dict[str, Any]:
    """What of a path's answers did not match its actions."""
    task_id, variation, take = annotated.key
    path = {"task_id": task_id, "variation": variation, "take": take}
    return path | {"extra": annotated.extra, "joined": annotated.joined, "repairs": annotated.repairs}


def manifest(
    table: Path, annotator: LLMAnnotator, model: ChatModel, outcomes: Sequence[Outcome], prices: Prices | None
) -> dict[str, Any]:
    """The manifest of a table of annotations: its source, failures with reasons, and cost."""
    annotated = [outcome for outcome in outcomes if isinstance(outcome, Annotated)]
    return {
        "file": table.name,
        "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "annotator": annotator.name,
        "endpoint": model.endpoint.address,
        "parameters": dict(model.endpoint.parameters),
        "paths": len(annotated),
        "extra_actions": sum(path.extra for path in annotated),
        "joined_actions": sum(path.joined for path in annotated),
        "repair_calls": sum(path.repairs for path in annotated),
        "unaligned": [_unaligned(path) for path in annotated if path.extra or path.joined or path.repairs],
        "usage": asdict(model.usage),
        "cost": {"asked": prices.cost(model.usage.asked), "cached": prices.cost(model.usage.cached)}
        if prices
        else None,
        "failed": [asdict(outcome) for outcome in outcomes if isinstance(outcome, Failure)],
    }
