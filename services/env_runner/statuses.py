"""From what Redis holds of an evaluation to its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from waymark.agents import name_of
from waymark.contracts import CheckpointMismatch, EvaluationStatus
from waymark.runs import Evaluation


def leased(pending: Mapping[str, int] | Exception) -> int:
    """How many leases a queue has out; without a queue Redis answers with an error."""
    return 0 if isinstance(pending, Exception) else pending["pending"]


def status_of(row: Mapping[str, str], running: int, waiting: str | None) -> EvaluationStatus:
    """How far an evaluation has come, by its hash, how many leases are out, and the report of a waiting worker."""
    evaluation = Evaluation.model_validate_json(row["evaluation"])
    finished = int(row.get("finished", 0))
    return EvaluationStatus(
        id=evaluation.id,
        request=evaluation.request,
        state=_state(row, evaluation.episodes - finished, running),
        created=evaluation.created,
        versions=evaluation.versions,
        episodes=evaluation.episodes,
        finished=finished,
        errored=int(row.get("errored", 0)),
        running=running,
        mean_score=int(row.get("score_sum", 0)) / finished if finished else None,
        agent_name=name_of(evaluation.request.agent),
        waiting=None if waiting is None else CheckpointMismatch.model_validate_json(waiting),
    )


def _state(
    row: Mapping[str, str], unfinished: int, running: int
) -> Literal["queued", "running", "cancelled", "finished"]:
    if not unfinished:
        return "finished"
    if "cancelled" in row:
        return "cancelled"
    return "running" if running or int(row.get("finished", 0)) else "queued"
