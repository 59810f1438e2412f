"""A report as JSON: what `waymark evaluate --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from waymark.contracts import EpisodeResult, EvaluationRequest, Versions
from waymark.evaluation.scores import summarise, world_played


def evaluation_json(
    evaluation: str, request: EvaluationRequest, versions: Versions | None, results: Sequence[EpisodeResult]
) -> dict[str, Any]:
    """The document that `waymark evaluate --json` prints; plain JSON types, episodes in task order."""
    world = world_played(versions)
    summary = summarise(results, world)
    order = {task.id: rank for rank, task in enumerate(world.tasks)}
    return {
        "evaluation": evaluation,
        "protocol": request.protocol,
        "agent": request.agent.model_dump(mode="json"),
        "versions": versions.model_dump(mode="json") if versions else None,
        "summary": {
            "mean": summary.mean,
            "ci95": list(summary.ci95) if summary.ci95 else None,
            "ci95_play": list(summary.ci95_play) if summary.ci95_play else None,
            "repeats": summary.repeats,
            "repeat_means": list(summary.repeat_means),
            "randomness": list(summary.randomness),
            "raw_mean": summary.raw_mean,
            "last_nonnegative_mean": summary.last_nonnegative_mean,
            "success_rate": summary.success_rate,
            "groups": dict(summary.groups),
            "tasks": {task.id: task.mean for task in summary.tasks},
            "tasks_ci95": {task.id: list(task.ci95) if task.ci95 else None for task in summary.tasks},
            "tasks_ci95_play": {task.id: list(task.ci95_play) if task.ci95_play else None for task in summary.tasks},
            "effort": summary.effort.model_dump(mode="json"),
            "rules": dict(summary.rules),
        },
        "episodes": [
            result.model_dump(mode="json", include=_EPISODE_FIELDS | ({"repeat"} if request.repeats > 1 else set()))
            for result in sorted(results, key=lambda result: (order[result.task], result.variation, result.repeat))
        ],
    }


_EPISODE_FIELDS = {
    "task",
    "variation",
    "score",
    "raw_score",
    "last_nonnegative_score",
    "success",
    "moves",
    "actions",
    "turns",
    "model_calls",
    "tokens",
    "repaired",
    "stopped",
    "error",
    "seconds",
}
