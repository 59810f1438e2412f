"""From what Redis holds of an evaluation to its status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from pydantic import ValidationError

from waymark.agents import name_of
from waymark.contracts import CheckpointMismatch, EvaluationStatus
from waymark.errors import InvalidInput
from waymark.runs import Evaluation


def leased(pending: Mapping[str, int] | Exception) -> int:
    """How many leases a queue has out; without a queue Redis answers with an error."""
    return 0 if isinstance(pending, Exception) else pending["pending"]


_log = logging.getLogger(__name__)


def read_evaluation(text: str) -> Evaluation:
    """An evaluation as it was stored. Raises InvalidInput for one that breaks today's limits, or is damaged."""
    try:
        return Evaluation.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"A stored evaluation is unreadable: {where}: {first['msg']}.",
            remedy="It was stored by another version of waymark, or damaged; submit it again.",
            field=where,
        ) from error


@lru_cache(maxsize=1_000)
def set_aside(evaluation_id: str, reason: str) -> None:
    """Say in the log, once for each, that an evaluation is left out."""
    _log.error("Evaluation %s is set aside: %s", evaluation_id, reason)


def status_of(row: Mapping[str, str], running: int, waiting: str | None) -> EvaluationStatus:
    """How far an evaluation has come, by its hash, how many leases are out, and the report of a waiting worker."""
    evaluation = read_evaluation(row["evaluation"])
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
