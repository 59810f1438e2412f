"""Evaluation protocols: named sets of variations with the limits of an episode.

An evaluation that names a protocol may still choose tasks, variations or limits of its own; what it leaves
out comes from the protocol. Nothing is played here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from waymark.agent.rules import check_rules
from waymark.contracts import AgentConfig, EpisodeSpec, EvaluationRequest, Limits
from waymark.errors import InvalidInput
from waymark.worlds.base import Protocol, Split, TaskType, World
from waymark.worlds.registry import DEFAULT_WORLD, agent_world, get_world

TURNS_PER_MOVE = 2
"""Ended sub-goals and free actions are turns but cost no moves, so every protocol limits turns too."""
MOST_EPISODES = 20_000
"""Largest number of episodes of one evaluation: ten repeats of all test variations."""
FLAT_REPETITION = 10
"""The published flat agent stops when its last ten actions are only two distinct ones."""

_LATER_FIELDS = ("policy", "beams", "repair_by", "rules")
"""Fields of agents that are not part of an episode's id while they hold their default, so that older runs can be
resumed."""

_T = TypeVar("_T")


def limits_of(protocol: Protocol, agent: AgentConfig) -> Limits:
    """The limits of an episode of this agent."""
    flat = agent.subgoals == "none"
    gives_up = protocol.patience is not None
    return Limits(
        moves=protocol.moves,
        turns=TURNS_PER_MOVE * protocol.moves,
        patience=None if flat else protocol.patience,
        repetition=FLAT_REPETITION if flat and gives_up else None,
    )


def protocol_of(request: EvaluationRequest, world: World) -> Protocol:
    """The protocol that a request names. Raises InvalidInput (field `protocol`) that lists the world's."""
    if request.protocol not in world.protocols:
        raise InvalidInput(
            f"{world.title} has no protocol {request.protocol!r}.",
            remedy=f"Protocols are {', '.join(world.protocols)}.",
            field="protocol",
        )
    return world.protocols[request.protocol]


def episodes(evaluation_id: str, request: EvaluationRequest, world: World | None = None) -> list[EpisodeSpec]:
    """Every episode of an evaluation in a world (default: ScienceWorld). New requests are `pinned` before.

    Every variation comes once, then every variation again for each further repeat.

    Within a repeat all tasks' first variations come before their second ones, which keeps the results so far balanced
    over the tasks. Ids are a function of the arguments. Raises InvalidInput (field `tasks`, `variations`, `repeats`,
    `simplifications`, `agent.rules`).
    """
    world = world or get_world(DEFAULT_WORLD)
    protocol = protocol_of(request, world)
    tasks = _tasks(request, world)
    options = _options(request, world)
    _check_options(request, options, world, tasks)
    limits = request.limits or limits_of(protocol, request.agent)
    check_rules(request.agent.rules or (), agent_world(world.name))
    ranked = [
        (rank, task, variation) for task in tasks for rank, variation in enumerate(_variations(request, world, task))
    ]
    ranked.sort(key=lambda entry: entry[0])
    if len(ranked) * request.repeats > MOST_EPISODES:
        raise InvalidInput(
            f"{request.repeats} repeats of {len(ranked):,} variations are {len(ranked) * request.repeats:,} episodes; "
            f"an evaluation has at most {MOST_EPISODES:,}.",
            remedy="Choose fewer repeats, or fewer tasks or variations.",
            field="repeats",
        )
    first = [_episode(evaluation_id, request, options, limits, task, variation) for _, task, variation in ranked]
    return [_repeated(spec, repeat) for repeat in range(request.repeats) for spec in first]


def _options(request: EvaluationRequest, world: World) -> str:
    """The options for the world."""
    options = request.simplifications if request.options is None else request.options
    return world.default_options if options is None else options


def _check_options(request: EvaluationRequest, options: str, world: World, tasks: Sequence[TaskType]) -> None:
    """Raise InvalidInput that names the field which the caller used."""
    try:
        world.check_options(options, tasks)
    except InvalidInput as error:
        error.field = "simplifications" if request.options is None else "options"
        raise


def pinned(request: EvaluationRequest, world: World) -> EvaluationRequest:
    """A new request with the split that its protocol plays, where that was another one before.

    Runs of `quick` from before lack it and stay runs of test variations. Raises InvalidInput (field `protocol`).
    """
    protocol = protocol_of(request, world)
    if protocol.earlier_split is None or request.split is not None or request.variations is not None:
        return request
    return request.model_copy(update={"split": protocol.split})


def split_of(request: EvaluationRequest, protocol: Protocol) -> Split:
    """The split whose variations a recorded request plays, unless it names variations."""
    return request.split or protocol.earlier_split or protocol.split


def check_world(request: EvaluationRequest, world: World) -> None:
    """Raise InvalidInput (field `world`) for a request that names another world than the one that is played."""
    if request.world not in (None, world.name):
        raise InvalidInput(
            f"The world {request.world!r} is not played here.",
            remedy=f"This env-runner plays {world.name!r}: start one with WAYMARK_ENVIRONMENT={request.world}.",
            field="world",
        )


def _tasks(request: EvaluationRequest, world: World) -> tuple[TaskType, ...]:
    if request.tasks is None:
        return world.tasks
    if not request.tasks:
        remedy = f"Name one, or leave `tasks` out for all {len(world.tasks)}."
        raise InvalidInput("No task is named.", remedy=remedy, field="tasks")
    return _distinct(world.find_task(name) for name in request.tasks)


def _variations(request: EvaluationRequest, world: World, task: TaskType) -> tuple[int, ...]:
    if request.variations is None:
        protocol = protocol_of(request, world)
        return protocol.variations_of(task, split_of(request, protocol))
    if not request.variations:
        raise InvalidInput(
            "No variation is named.",
            remedy="Name one, or leave `variations` out for those of the protocol.",
            field="variations",
        )
    return _distinct(world.check_variation(task, variation) for variation in request.variations)


def _episode(
    evaluation_id: str, request: EvaluationRequest, options: str, limits: Limits, task: TaskType, variation: int
) -> EpisodeSpec:
    spec = EpisodeSpec(
        id="",
        evaluation=evaluation_id,
        task=task.id,
        variation=variation,
        options=options,
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
