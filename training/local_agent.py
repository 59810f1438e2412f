"""A trained agent whose models run in this process, for episodes that become training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from training.worlds.base import TrainedAgent
from waymark.agent.model_ports import Controller, Executor
from waymark.contracts import (
    ActionRequest,
    ActionResponse,
    AgentState,
    DecisionRequest,
    Role,
    SubgoalRequest,
    SubgoalResponse,
)
from waymark.inference.batching import Answer
from waymark.inference.checkpoint import load
from waymark.serving.decisions import Decided, Question, action_response, subgoal_response
from waymark.serving.loaded_models import ServedModel, open_model
from waymark.serving.settings import ServiceSettings

_ROLES: Final[Mapping[TrainedAgent, tuple[Role, ...]]] = {
    "hierarchical": ("controller", "executor"),
    "flat": ("flat",),
}
"""The roles of an agent's checkpoints, which are the names of their folders."""


def checkpoints_used(checkpoints: Path, agent: TrainedAgent) -> dict[str, str]:
    """Role to the hash of the checkpoint that the agent uses, for a manifest. Raises CheckpointError."""
    return {role: load(checkpoints / role).sha256 for role in _ROLES[agent]}


@cache
def open_agent(checkpoints: str, agent: TrainedAgent) -> tuple[Controller | None, Executor]:
    """The agent of a folder, opened once in each process. Raises CheckpointError."""
    settings = ServiceSettings(threads=1)
    models = [open_model(Path(checkpoints) / role, role, settings) for role in _ROLES[agent]]
    return _Controller(models[0]) if agent == "hierarchical" else None, _Executor(models[-1])


def _decide(model: ServedModel, request: DecisionRequest) -> Decided:
    """What a served model would answer."""
    question = Question(model, request)
    query = question.work.write()
    if query.candidates is None:
        (generation,) = model.generator.generate([query.prompt], n=query.n)
    else:
        (generation,) = model.generator.score([query.prompt], [query.candidates], n=query.n)
    return question.read(Answer(query, generation, queue_ms=0.0, tokenise_ms=0.0, model_ms=0.0))


@dataclass(frozen=True)
class _Controller:
    """A controller in this process."""

    _model: ServedModel

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        return subgoal_response(_decide(self._model, SubgoalRequest(state=state, n=n, model=model)))


@dataclass(frozen=True)
class _Executor:
    """An executor in this process."""

    _model: ServedModel

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        candidates = None if valid_actions is None else tuple(valid_actions)
        request = ActionRequest(state=state, n=n, model=model, valid_actions=candidates)
        return action_response(_decide(self._model, request))
