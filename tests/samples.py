"""Whole wire models for tests that care about one or two of their fields."""

from __future__ import annotations

from waymark.contracts import CheckpointInfo, EpisodeError, EpisodeResult, EvaluationRequest, Versions
from waymark.evaluation.run_folder import Evaluation

EXECUTOR = CheckpointInfo(
    model="default",
    checkpoint="scripted",
    sha256="",
    role="executor",
    architecture="scripted",
    prompt_format="compact",
    history_turns=10,
    parameters=0,
    max_input_tokens=1_000_000,
    max_new_tokens=1_000_000,
    engine="scripted",
    dtype="none",
)
CONTROLLER = EXECUTOR.model_copy(update={"role": "controller"})
VERSIONS = Versions(waymark="0", commit=None, environment="scripted", controller=CONTROLLER, executor=EXECUTOR)
"""Of the scripted services and world."""


def evaluation(name: str = "sample", request: EvaluationRequest | None = None, *, episodes: int = 30) -> Evaluation:
    """An evaluation as it is submitted."""
    return Evaluation(
        id=name,
        request=request or EvaluationRequest(),
        created="2026-01-01T00:00:00+00:00",
        versions=VERSIONS,
        episodes=episodes,
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
    return EpisodeResult(
        id=episode,
        evaluation=evaluation,
        task=task,
        variation=variation,
        seed=0,
        score=score,
        raw_score=score,
        last_nonnegative_score=score,
        success=score == 100,
        moves=1,
        actions=1,
        turns=1,
        model_calls=1,
        repaired=0,
        stopped="error" if error else "moves",
        error=error,
        seconds=0.1,
    )
