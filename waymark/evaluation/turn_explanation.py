"""Explains a turn: the state that each model got, its exact prompt, and its alternatives.

Prompts and states are not stored. The state is computed again from the recorded turns (`waymark.agent.replay`), and the
prompt is rendered by the code that the services use, so it equals the model's prompt byte for byte. A tokenizer may
still have cut the end of a prompt that was over its checkpoint's limit of tokens.
"""

from __future__ import annotations

from waymark.agent.prompt import write_prompt
from waymark.agent.replay import Moment, moments
from waymark.contracts import (
    MOST_TURNS,
    AgentState,
    Asked,
    CheckpointInfo,
    Considered,
    Contract,
    EpisodeResult,
    Versions,
)
from waymark.errors import InvalidInput
from waymark.evaluation.scores import world_played
from waymark.worlds.registry import get_format


class ModelInput(Contract):
    """The input of one model in a turn."""

    asked: Asked
    """The checkpoint that was asked; `first` answers instead of the controller before the first turn."""
    checkpoint: CheckpointInfo | None
    """Null where the result does not say."""
    state: AgentState
    """The state that the service got."""
    prompt: str | None
    """The exact text that the model read, before its tokenizer cut what was over the limit; null where the result does
    not name its checkpoint."""
    alternatives: tuple[Considered, ...]
    """As the turn recorded them."""


class TurnExplanation(Contract):
    """Answer of `GET /v1/evaluations/{id}/episodes/{episode}/turns/{turn}`."""

    evaluation: str
    episode: str
    turn: int
    models: tuple[ModelInput, ...]
    """In the order in which they were asked; empty for a turn that asked none."""


def explain(result: EpisodeResult, turn: int, versions: Versions | None = None) -> TurnExplanation:
    """The inputs of the models in one turn of a whole result.

    `versions` are those of the evaluation, for a result that names none. Raises InvalidInput for a turn that it lacks.
    """
    if not 1 <= turn <= len(result.trajectory):
        raise InvalidInput(
            f"The episode has turns 1 to {len(result.trajectory)}; got {turn}.",
            remedy="Name one of these.",
            field="turn",
        )
    known = result.versions or versions
    considered = result.trajectory[turn - 1]
    models = []
    for moment in moments(result, MOST_TURNS, world_played(known).agent, of_turn=considered.turn):
        asked, checkpoint = _asked(moment, known, result)
        models.append(
            ModelInput(
                asked=asked,
                checkpoint=checkpoint,
                state=moment.state,
                prompt=_prompt(moment.state, checkpoint),
                alternatives=considered.actions if asked == "executor" else considered.subgoals,
            )
        )
    return TurnExplanation(evaluation=result.evaluation, episode=result.id, turn=turn, models=tuple(models))


def _asked(moment: Moment, versions: Versions | None, result: EpisodeResult) -> tuple[Asked, CheckpointInfo | None]:
    """Which checkpoint answered, by the rule of the controller service."""
    if moment.asked == "executor":
        return "executor", versions.executor if versions else None
    default = result.agent is None or result.agent.controller_model == "default"
    begins = not moment.state.turns and moment.state.current_subgoal is None
    if versions and versions.first and default and begins:
        return "first", versions.first
    return "controller", versions.controller if versions else None


def _prompt(state: AgentState, checkpoint: CheckpointInfo | None) -> str | None:
    return None if checkpoint is None else write_prompt(get_format(checkpoint.prompt_format), checkpoint.role, state)
