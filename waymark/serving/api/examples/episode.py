"""One real episode, from its task to its result, as `episode.json` holds it.

It is the first test variation of task 4-2 (find a non-living thing) of ScienceWorld, which the shipped models of 22
November 2026 solved in three moves. States, responses and figures are those of that episode.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from waymark import __version__
from waymark.contracts import (
    ActionResponse,
    AgentState,
    CheckpointInfo,
    EpisodeResult,
    EvaluationRequest,
    EvaluationStatus,
    EvaluationSummary,
    SubgoalResponse,
    TurnRecord,
    Versions,
)

_RECORDED: Final[dict[str, Any]] = json.loads((files(__package__) / "episode.json").read_bytes())
_STATES: Final[dict[str, Any]] = _RECORDED["states"]

START: Final = AgentState.model_validate(_STATES["start"])
"""Before the first action: no sub-goal yet."""
SENT_OFF: Final = AgentState.model_validate(_STATES["sent_off"])
"""The controller has named where to go."""
ARRIVED: Final = AgentState.model_validate(_STATES["arrived"])
"""One action later; the executor will say that the sub-goal has ended."""
PAINTING: Final = AgentState.model_validate(_STATES["painting"])
"""The controller has named the thing."""

CONTROLLER: Final = CheckpointInfo.model_validate(_RECORDED["checkpoints"]["controller"])
EXECUTOR: Final = CheckpointInfo.model_validate(_RECORDED["checkpoints"]["executor"])

SUBGOAL: Final = SubgoalResponse.model_validate(_RECORDED["subgoals"]["first"])
"""To `START`, of three alternatives."""
NEXT_SUBGOAL: Final = SubgoalResponse.model_validate(_RECORDED["subgoals"]["next"])
"""To `ARRIVED`."""
ACTION: Final = ActionResponse.model_validate(_RECORDED["actions"]["towards"])
"""To `SENT_OFF`, of two alternatives."""
ENDED: Final = ActionResponse.model_validate(_RECORDED["actions"]["ended"])
"""To `ARRIVED`."""
CHOSEN: Final = ActionResponse.model_validate(_RECORDED["actions"]["chosen"])
"""To `PAINTING`, among valid actions."""

REQUEST: Final = EvaluationRequest.model_validate(_RECORDED["request"])
VERSIONS: Final = Versions.model_validate(
    {**_RECORDED["versions"], "waymark": __version__, "controller": CONTROLLER, "executor": EXECUTOR}
)
QUEUED: Final = EvaluationStatus.model_validate({**_RECORDED["status"], "request": REQUEST, "versions": VERSIONS})
FINISHED: Final = QUEUED.model_copy(update={"state": "finished", "finished": 1, "mean_score": 100.0})
CANCELLED: Final = QUEUED.model_copy(update={"state": "cancelled"})
RESULT: Final = EpisodeResult.model_validate(_RECORDED["result"])
"""Light."""
PLAYED: Final = RESULT.model_copy(
    update={
        "agent": REQUEST.agent,
        "versions": VERSIONS,
        "trajectory": tuple(TurnRecord.model_validate(turn) for turn in _RECORDED["trajectory"]),
    }
)
"""With its first two turns."""
SUMMARY: Final = EvaluationSummary.model_validate(_RECORDED["summary"])
