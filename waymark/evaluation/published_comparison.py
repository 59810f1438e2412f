"""Our scores beside published ones: which figures stand in the table, and the notes below it."""

from __future__ import annotations

from collections.abc import Sequence

from waymark.contracts import (
    EvaluationRequest,
    EvaluationSummary,
    PublishedColumns,
    PublishedMethod,
    Summary,
    TaskScore,
)
from waymark.evaluation.intervals import average
from waymark.evaluation.requested_episodes import split_of
from waymark.worlds.base import SPLITS, World
from waymark.worlds.registry import DEFAULT_WORLD, get_world


def published_notes(request: EvaluationRequest, world: World) -> tuple[str, ...]:
    """Notes on comparisons with published figures, and whether variations other than the published test ones were
    played.

    Empty for a world without published figures.
    """
    notes = tuple(world.published.notes)
    splits = _splits(request, world)
    if not notes or splits <= {"test"}:
        return notes
    played = " and ".join(split for split in SPLITS if split in splits)
    return (f"These scores are of {played} variations; the published figures are of test variations.", *notes)


def _splits(request: EvaluationRequest, world: World) -> set[str]:
    """The splits of the variations that are asked for."""
    if request.variations is None:
        protocol = world.protocols.get(request.protocol)
        return set() if protocol is None else {split_of(request, protocol)}
    tasks = world.tasks if request.tasks is None else map(world.find_task, request.tasks)
    return {
        task.split_of(variation) for task in tasks for variation in request.variations if variation < task.variations
    }


def published_methods(world: World | None = None) -> tuple[PublishedMethod, ...]:
    """The agents published for a world (default: ScienceWorld), weakest first as listed."""
    agents = (world or get_world(DEFAULT_WORLD)).published.agents
    return tuple(
        PublishedMethod(
            method=agent.method,
            model=agent.model,
            overall=agent.overall,
            groups=dict(agent.groups),
            provenance=agent.provenance,
        )
        for agent in agents
    )


def beside_published(
    evaluation: str, summary: Summary, world: World | None = None, request: EvaluationRequest | None = None
) -> EvaluationSummary:
    """A summary with the published figures for its world (default: ScienceWorld).

    `request` says whether other variations were played than the published ones.
    """
    world = world or get_world(DEFAULT_WORLD)
    scores = world.published
    published, methods = scores.tasks, tuple(scores.columns)

    def means(tasks: Sequence[TaskScore]) -> dict[str, float]:
        return {method: average(published[task.id][method] for task in tasks) for method in methods} if tasks else {}

    return EvaluationSummary(
        evaluation=evaluation,
        summary=summary,
        published=PublishedColumns(
            methods=methods,
            tasks={task.id: dict(published[task.id]) for task in summary.tasks if task.id in published},
            groups={group: means([task for task in summary.tasks if task.group == group]) for group in summary.groups},
            overall=means(summary.tasks),
        ),
        methods=published_methods(world),
        notes=tuple(scores.notes) if request is None else published_notes(request, world),
    )
