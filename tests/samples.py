"""Whole wire models for tests that care about one or two of their fields."""

from __future__ import annotations

from waymark.contracts import (
    AgentConfig,
    CheckpointInfo,
    EpisodeError,
    EpisodeResult,
    EpisodeSpec,
    EvaluationRequest,
    Limits,
    Versions,
)
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
    spec = EpisodeSpec(
        id=episode,
        evaluation=evaluation,
        task=task,
        variation=variation,
        simplifications="easy",
        seed=0,
        agent=AgentConfig(),
        limits=Limits(moves=100, turns=200),
    )
    return result_of(spec, score=score, error=error)


def result_of(spec: EpisodeSpec, *, score: int = 50, error: EpisodeError | None = None) -> EpisodeResult:
    """The light result of a spec: one action, after which the episode ended."""
    return EpisodeResult.of(
        spec,
        "error" if error else "moves",
        raw_score=score,
        error=error,
        moves=1,
        actions=1,
        turns=1,
        model_calls=1,
        seconds=0.1,
    ).without_trajectory()
