"""Whole wire models for tests that care about one or two of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waymark.contracts import (
    AgentConfig,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    EvaluationRequest,
    Limits,
    Stopped,
    Timing,
    Usage,
    Versions,
)
from waymark.evaluation.run_folder import Evaluation
from waymark.serving.loaded_models import scripted_model

EXECUTOR = scripted_model("default", "executor").info
CONTROLLER = scripted_model("default", "controller").info
USAGE = Usage(prompt_tokens=10, completion_tokens=2)
TIMING = Timing(queue=0, model=0, total=0)
VERSIONS = Versions(waymark="0", commit=None, environment="scripted", controller=CONTROLLER, executor=EXECUTOR)
"""Of the scripted services and world."""
FIGURES: Mapping[str, Any] = {
    "moves": 4, "actions": 3, "turns": 5, "model_calls": 6, "repaired": 1, "seconds": 0.5,
}  # fmt: skip
"""Of an episode: a number of its own for each, so that a table that mixes them up is noticed."""


def evaluation(name: str = "sample", request: EvaluationRequest | None = None, *, episodes: int = 30) -> Evaluation:
    """An evaluation as it is submitted."""
    return Evaluation(
        id=name,
        request=request or EvaluationRequest(),
        created="2026-01-01T00:00:00+00:00",
        versions=VERSIONS,
        episodes=episodes,
    )


def spec(
    agent: AgentConfig | None = None,
    *,
    task: str = "4-2",
    variation: int = 0,
    moves: int = 100,
    turns: int = 20,
    patience: int | None = None,
    **fields: Any,
) -> EpisodeSpec:
    """An episode to play; `fields` are others of the spec."""
    identity: dict[str, Any] = {"id": "x", "evaluation": "e", "options": "easy", "seed": 0}
    limits = Limits(moves=moves, turns=turns, patience=patience)
    return EpisodeSpec(
        **(identity | fields), task=task, variation=variation, agent=agent or AgentConfig(), limits=limits
    )


def result(
    episode: str,
    *,
    evaluation: str = "sample",
    task: str = "1-1",
    variation: int = 21,
    score: int = 50,
    error: EpisodeError | None = None,
) -> EpisodeResult:
    """A finished episode without turns."""
    return result_of(spec(id=episode, evaluation=evaluation, task=task, variation=variation), score=score, error=error)


def result_of(
    spec: EpisodeSpec,
    *,
    score: int = 50,
    stopped: Stopped = "moves",
    error: EpisodeError | None = None,
    **figures: float,
) -> EpisodeResult:
    """The light result of a spec. Unless `figures` say otherwise, one action was taken, and the episode ended."""
    one_turn = {"moves": 1, "actions": 1, "turns": 1, "model_calls": 1, "seconds": 0.1}
    return EpisodeResult.of(
        spec, "error" if error else stopped, raw_score=score, error=error, **(one_turn | figures)
    ).without_trajectory()
