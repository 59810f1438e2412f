"""Converts a request to a model's prompt, and the model's text to a decision.

Both conversions use the checkpoint's own prompt format. They are pure functions and never wait.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from waymark.agent.prompt import write_prompt
from waymark.contracts import (
    ActionAlternative,
    ActionRequest,
    ActionResponse,
    AgentState,
    CheckpointInfo,
    DecisionRequest,
    DecisionWarning,
    SubgoalAlternative,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.errors import InvalidInput, UnparsableAction
from waymark.inference.batching import CHARACTERS_A_TOKEN, Answer, Query, Work
from waymark.serving.answer_warnings import warnings_of
from waymark.serving.loaded_models import ServedModel
from waymark.serving.parsed_answers import Decision, read


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions for one request, best first, and their usage and timing."""

    decisions: tuple[Decision, ...]
    made_by: CheckpointInfo
    warnings: tuple[DecisionWarning, ...]
    usage: Usage
    timing: Timing


@dataclass(slots=True)
class Question:
    """One request to one model."""

    model: ServedModel
    request: DecisionRequest
    path: str = ""
    """Prefix of its fields in errors: `3.` for an item of a list."""
    began: float = field(default_factory=time.perf_counter)
    _actions: dict[str, str] | None = None
    """With `valid_actions`: each by what the model would write for it."""

    @property
    def work(self) -> Work:
        """The work for the batcher."""
        limit = self.model.info.max_input_tokens
        tokens = min(limit, _characters(self.request.state) // CHARACTERS_A_TOKEN)
        valid = (self.request.valid_actions if isinstance(self.request, ActionRequest) else None) or ()
        return Work(
            write=self._write,
            tokens=tokens,
            field=f"{self.path}state",
            n=self.request.n,
            candidates=len(valid),
            candidate_characters=sum(map(len, valid)),
            cost_field=f"{self.path}{'valid_actions' if valid else 'n'}",
        )

    def _write(self) -> Query:
        """The prompt. Raises InvalidInput with the name of the field."""
        prompt = write_prompt(self.model.format, self.model.role, self.request.state)
        valid = self.request.valid_actions if isinstance(self.request, ActionRequest) else None
        if valid is None:
            return Query(prompt, n=self.request.n)
        self._actions = self._targets(valid)
        return Query(prompt, n=self.request.n, candidates=tuple(self._actions))

    def _targets(self, valid: Sequence[str]) -> dict[str, str]:
        targets: dict[str, str] = {}
        for number, action in enumerate(valid):
            try:
                targets.setdefault(self.model.format.target(self.model.role, action), action)
            except UnparsableAction as error:
                raise InvalidInput(
                    error.message, remedy=error.remedy, field=f"{self.path}valid_actions.{number}"
                ) from error
        return targets

    def read(self, answer: Answer) -> Decided:
        """The decisions that the model's texts stand for."""
        generation = answer.generation
        if self._actions is None:
            decisions = read(self.model.format, self.model.role, generation.candidates)
        else:
            decisions = [Decision(self._actions[candidate.text], candidate) for candidate in generation.candidates]
        return Decided(
            decisions=tuple(decisions[: self.request.n]),
            made_by=self.model.info,
            warnings=warnings_of(self.model.format.name, self.request.state),
            usage=Usage(
                prompt_tokens=generation.prompt_tokens,
                completion_tokens=sum(candidate.tokens for candidate in generation.candidates),
                truncated_tokens=generation.truncated_tokens,
            ),
            timing=Timing(
                queue=round(answer.queue_ms, 3),
                tokenise=round(answer.tokenise_ms, 3),
                model=round(answer.model_ms, 3),
                total=round((time.perf_counter() - self.began) * 1000, 3),
            ),
        )


def subgoal_response(decided: Decided) -> SubgoalResponse:
    """The controller's answer."""
    return SubgoalResponse(
        subgoal=decided.decisions[0].text or "",
        alternatives=tuple(
            SubgoalAlternative(subgoal=decision.text or "", **_candidate_fields(decision))
            for decision in decided.decisions
        ),
        **_response_fields(decided),
    )


def action_response(decided: Decided) -> ActionResponse:
    """The executor's answer."""
    text = decided.decisions[0].text
    return ActionResponse(
        action=text,
        ended_subgoal=text is None,
        alternatives=tuple(
            ActionAlternative(action=decision.text, ended_subgoal=decision.text is None, **_candidate_fields(decision))
            for decision in decided.decisions
        ),
        **_response_fields(decided),
    )


def _candidate_fields(decision: Decision) -> dict[str, Any]:
    """Fields that alternatives of both services have."""
    return {
        "parsed": decision.parsed,
        "raw": decision.raw,
        "logprob": decision.candidate.logprob,
        "mean_logprob": decision.candidate.mean_logprob,
    }


def _response_fields(decided: Decided) -> dict[str, Any]:
    """Fields that answers of both services have."""
    return {
        "parsed": decided.decisions[0].parsed,
        "raw": decided.decisions[0].raw,
        "warnings": decided.warnings,
        "model": decided.made_by.model,
        "checkpoint_sha256": decided.made_by.sha256,
        "runtime": decided.made_by.runtime,
        "usage": decided.usage,
        "timing_ms": decided.timing,
    }


def _characters(state: AgentState) -> int:
    """How long the texts of a state are."""
    turns = sum(len(turn.acted) + len(turn.observation) for turn in state.turns)
    return len(state.task) + len(state.look) + len(state.inventory) + len(state.observation) + turns
