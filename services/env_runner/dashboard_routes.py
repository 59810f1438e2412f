"""Routes of the dashboard beside those of single evaluations: all runs, notes, one turn, comparison, options."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Query, Response
from pydantic import Field

from services.env_runner import json_answers, world_routes
from services.env_runner.route_parameters import NAME, EpisodeId, RunId
from services.env_runner.run_library import RunLibrary, RunList
from services.env_runner.run_notes import RunNotes
from services.env_runner.same_variation import OtherEpisodes, other_episodes
from services.env_runner.world_routes import ProtocolOption, TaskOption
from waymark.agent.named_agents import AGENTS, DESCRIPTIONS
from waymark.contracts import AgentConfig, Contract, EvaluationRequest
from waymark.errors import InvalidInput
from waymark.evaluation.checkpoint_identity import check_results
from waymark.evaluation.comparison import Run
from waymark.evaluation.failure_modes import FailureMode, failure_modes
from waymark.evaluation.run_differences import RunComparison, compare_runs
from waymark.evaluation.turn_explanation import TurnExplanation, explain
from waymark.serving.middleware import problem_documents
from waymark.worlds.registry import DEFAULT_WORLD, get_world

MOST_COMPARED = 8
"""Runs of one comparison."""


class Failures(Contract):
    """Answer of `GET /v1/evaluations/{id}/failures`."""

    items: tuple[FailureMode, ...]


class Options(Contract):
    """Answer of `GET /v1/options`: the choices for a new evaluation."""

    can_play: bool
    """False if only run folders are shown: then nothing can be started, cancelled or played."""
    tasks: tuple[TaskOption, ...]
    groups: tuple[str, ...]
    protocols: tuple[ProtocolOption, ...]
    agents: dict[str, AgentConfig]
    """By name."""
    agent_descriptions: dict[str, str] = Field(default_factory=dict)
    """A sentence about each agent, by name."""
    defaults: EvaluationRequest
    world: str = DEFAULT_WORLD
    """The world that this env-runner plays; `GET /v1/worlds` describes it, its rules of play too."""


def install(app: FastAPI, library: RunLibrary, *, can_play: bool, world: str = DEFAULT_WORLD) -> None:
    """Give an app these routes; `world` is what new evaluations play."""
    world_routes.install(app)

    @app.get("/v1/runs", response_model=RunList)
    def runs() -> Response:
        """Every run, the newest first: those in Redis and those that are only in run folders."""
        return json_answers.of_items(library.entries())

    @app.get("/v1/runs/{run_id}/notes")
    def read_notes(run_id: RunId) -> RunNotes:
        """The name, tags and note of a run."""
        library.status(run_id)
        return library.notes(run_id)

    @app.put("/v1/runs/{run_id}/notes", responses=problem_documents.describe(507))
    def write_notes(run_id: RunId, notes: RunNotes) -> RunNotes:
        """Name a run, tag it or write a note about it. It is kept in the run's folder."""
        return library.write_notes(run_id, notes)

    @app.get("/v1/evaluations/{evaluation_id}/episodes/{episode_id}/turns/{turn}")
    def explained(
        evaluation_id: RunId,
        episode_id: EpisodeId,
        turn: Annotated[int, Path(ge=1, le=20_000, description="Number of the turn, from 1.")],
    ) -> TurnExplanation:
        """Why a turn went as it did: the exact prompts of its models, their checkpoints, and the alternatives."""
        return explain(library.episode(evaluation_id, episode_id), turn, library.evaluation(evaluation_id).versions)

    @app.get("/v1/comparison")
    def comparison(
        run: Annotated[
            list[Annotated[str, Query(pattern=NAME)]],
            Query(min_length=2, max_length=MOST_COMPARED, description="Ids; the others are compared with the first."),
        ],
    ) -> RunComparison:
        """A comparison of runs on the episodes that all of them have played: scores, differences with intervals,
        largest changes.
        """
        if len(set(run)) < len(run):
            twice = next(name for name in run if run.count(name) > 1)
            raise InvalidInput(f"The run {twice!r} is named twice.", remedy="Name each run once.", field="run")
        return compare_runs([_load(library, name) for name in run])

    @app.get("/v1/evaluations/{evaluation_id}/failures")
    def failures(evaluation_id: RunId) -> Failures:
        """How its episodes failed so far: the modes, most frequent first, each with an example."""
        return Failures(items=failure_modes(library.results(evaluation_id)))

    @app.get("/v1/options")
    def options() -> Options:
        """The tasks, protocols and agents that a new evaluation can be made of."""
        played = world_routes.describe(get_world(world))
        return Options(
            can_play=can_play,
            world=played.name,
            tasks=played.tasks,
            groups=played.groups,
            protocols=played.protocols,
            agents=dict(AGENTS),
            agent_descriptions=dict(DESCRIPTIONS),
            defaults=EvaluationRequest(),
        )

    @app.get("/v1/evaluations/{evaluation_id}/episodes/{episode_id}/elsewhere")
    def elsewhere(evaluation_id: RunId, episode_id: EpisodeId) -> OtherEpisodes:
        """The same variation in other runs, the highest score first."""
        return other_episodes(library, evaluation_id, library.episode(evaluation_id, episode_id))


def _load(library: RunLibrary, run: str) -> Run:
    evaluation = library.evaluation(run)
    results = library.results(run)
    check_results(run, evaluation.versions, results)
    return Run(run, evaluation.request, evaluation.versions, results)
