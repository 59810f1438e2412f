"""Evaluation protocols: which variations are played and when an episode ends, under a name.

An evaluation that names a protocol may still choose tasks, variations or limits of its own; what it leaves
out comes from the protocol. Nothing is played here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from waymark.agent.rules import check_rules
from waymark.contracts import AgentConfig, EpisodeSpec, EvaluationRequest, Limits
from waymark.errors import InvalidInput
from waymark.worlds.registry import agent_world
from waymark.worlds.scienceworld.simplifications import check_simplifications
from waymark.worlds.scienceworld.tasks import TASKS, Split, TaskType, check_variation, find_task

TURNS_PER_MOVE = 2
"""Ended sub-goals and free actions are turns but no moves, so every protocol caps turns too."""
MOST_EPISODES = 20_000
"""Of one evaluation: ten repeats of all test variations."""
FLAT_REPETITION = 10
"""The published flat agent stops when its last ten actions are only two distinct ones."""

_LATER_FIELDS = ("policy", "beams", "repair_by", "rules")
"""Of agents: no part of an episode's id while they hold their default, so that runs from before them can be resumed."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Protocol:
    """A named choice of variations and limits."""

    name: str
    split: Split
    variations: int | None
    """The first this many variations of each task's split; None: all of them."""
    moves: int
    """Simulator moves of an episode."""
    patience: int | None
    """Turns without a change of score before giving up; a flat agent gives up on repetition instead."""
    description: str

    def variations_of(self, task: TaskType) -> tuple[int, ...]:
        """The variations of a task that this protocol plays."""
        return tuple(task.split(self.split)[: self.variations])

    def limits_of(self, agent: AgentConfig) -> Limits:
        """When an episode of that agent ends without being solved."""
        flat = agent.subgoals == "none"
        gives_up = self.patience is not None
        return Limits(
            moves=self.moves,
            turns=TURNS_PER_MOVE * self.moves,
            patience=None if flat else self.patience,
            repetition=FLAT_REPETITION if flat and gives_up else None,
        )


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("quick", "test", 1, 100, None, "First test variation of each task, 100 moves"),
        Protocol("dev", "dev", 5, 100, None, "First 5 dev variations of each task, 100 moves; for choosing models"),
        Protocol("seed", "test", 10, 100, 50, "First 10 test variations of each task, 100 moves, as published"),
        Protocol("swiftsage", "test", 10, 300, None, "First 10 test variations of each task, 300 moves"),
        Protocol("full", "test", None, 100, None, "All 1,819 test variations, 100 moves"),
    )
}


def episodes(evaluation_id: str, request: EvaluationRequest) -> list[EpisodeSpec]:
    """Every episode of an evaluation: every variation once, then every variation again for each further repeat.

    Within a repeat all tasks' first variations come before their second ones, which keeps the results so far balanced
    over the tasks. Ids are a function of the arguments. Raises InvalidInput (field `tasks`, `variations`, `repeats`,
    `simplifications`, `agent.rules`).
    """
    protocol = PROTOCOLS[request.protocol]
    tasks = _tasks(request)
    check_simplifications(request.simplifications, tasks)
    check_rules(request.agent.rules or (), agent_world())
    limits = request.limits or protocol.limits_of(request.agent)
    ranked = [
        (rank, task, variation) for task in tasks for rank, variation in enumerate(_variations(request, protocol, task))
    ]
    ranked.sort(key=lambda entry: entry[0])
    if len(ranked) * request.repeats > MOST_EPISODES:
        raise InvalidInput(
            f"{request.repeats} repeats of {len(ranked):,} variations are {len(ranked) * request.repeats:,} episodes; "
            f"an evaluation has at most {MOST_EPISODES:,}.",
            remedy="Choose fewer repeats, or fewer tasks or variations.",
            field="repeats",
        )
    first = [_episode(evaluation_id, request, limits, task, variation) for _, task, variation in ranked]
    return [_repeated(spec, repeat) for repeat in range(request.repeats) for spec in first]


def _tasks(request: EvaluationRequest) -> tuple[TaskType, ...]:
    if request.tasks is None:
        return TASKS
    if not request.tasks:
        raise InvalidInput("No task is named.", remedy="Name one, or leave `tasks` out for all 30.", field="tasks")
    return _distinct(find_task(name) for name in request.tasks)


def _variations(request: EvaluationRequest, protocol: Protocol, task: TaskType) -> tuple[int, ...]:
    if request.variations is None:
        return protocol.variations_of(task)
    if not request.variations:
        raise InvalidInput(
            "No variation is named.",
            remedy="Name one, or leave `variations` out for those of the protocol.",
            field="variations",
        )
    return _distinct(check_variation(task, variation) for variation in request.variations)


def _episode(
    evaluation_id: str, request: EvaluationRequest, limits: Limits, task: TaskType, variation: int
) -> EpisodeSpec:
    spec = EpisodeSpec(
        id="",
        evaluation=evaluation_id,
        task=task.id,
        variation=variation,
        simplifications=request.simplifications,
        seed=request.seed,
        agent=request.agent,
        limits=limits,
    )
    later = {name for name in _LATER_FIELDS if getattr(request.agent, name) == AgentConfig.model_fields[name].default}
    digest = hashlib.sha256(spec.model_dump_json(exclude={"repeat": True, "agent": later}).encode()).hexdigest()
    return spec.model_copy(update={"id": f"{task.id}_{variation}_{digest[:12]}"})


def _repeated(first: EpisodeSpec, repeat: int) -> EpisodeSpec:
    """The same episode, to be played again. Repeat 0 has the id that it would have alone."""
    return first.model_copy(update={"repeat": repeat, "id": f"{first.id}_r{repeat}"}) if repeat else first


def _distinct(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
