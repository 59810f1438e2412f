"""From a request to what its model is asked, and from what the model says to a decision.

Pure: both ways go through the checkpoint's own prompt format, nothing here waits.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from waymark.contracts import (
    ActionAlternative,
    ActionRequest,
    ActionResponse,
    AgentState,
    DecisionRequest,
    SubgoalAlternative,
    SubgoalResponse,
    Timing,
    Usage,
)
from waymark.errors import InvalidInput, UnparsableAction, WaymarkError
from waymark.generation import Candidate
from waymark.generation.batcher import CHARACTERS_A_TOKEN, Answer, Query, Work
from waymark.serving.models import ServedModel

_NOTHING_SAID = "(no answer)"
_LONGEST_DECISION = 500
"""Of the contracts' `Phrase`: a decision goes back into the next state."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that a model may have meant; `text` is null when it ends the sub-goal."""

    text: str | None
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions for one request, best first, and what they cost."""

    decisions: tuple[Decision, ...]
    model: str
    usage: Usage
    timing: Timing


@dataclass(slots=True)
class Question:
    """One request to one model."""

    model: ServedModel
    request: DecisionRequest
    path: str = ""
    """What stands before its fields in errors: `3.` in a list."""
    began: float = field(default_factory=time.perf_counter)
    _actions: dict[str, str] | None = None
    """With `valid_actions`: each by what the model would write for it."""

    @property
    def work(self) -> Work:
        """What a batcher is given."""
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
        """What the model reads. Raises InvalidInput that names the field."""
        prompt = self.model.format.render(self.model.role, self.request.state)
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
        """What the model meant."""
        generation = answer.generation
        if self._actions is None:
            decisions = _meant(self.model, generation.candidates)
        else:
            decisions = [Decision(self._actions[one.text], one) for one in generation.candidates]
        return Decided(
            decisions=tuple(decisions[: self.request.n]),
            model=self.model.info.model,
            usage=Usage(
                prompt_tokens=generation.prompt_tokens,
                completion_tokens=sum(one.tokens for one in generation.candidates),
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
    alternatives = tuple(
        SubgoalAlternative(
            subgoal=one.text or _NOTHING_SAID,
            logprob=one.candidate.logprob,
            mean_logprob=one.candidate.mean_logprob,
        )
        for one in decided.decisions
    )
    return SubgoalResponse(
        subgoal=alternatives[0].subgoal,
        alternatives=alternatives,
        model=decided.model,
        usage=decided.usage,
        timing_ms=decided.timing,
    )


def action_response(decided: Decided) -> ActionResponse:
    """The executor's answer."""
    alternatives = tuple(
        ActionAlternative(
            action=one.text,
            ended_subgoal=one.text is None,
            logprob=one.candidate.logprob,
            mean_logprob=one.candidate.mean_logprob,
        )
        for one in decided.decisions
    )
    return ActionResponse(
        action=alternatives[0].action,
        ended_subgoal=alternatives[0].ended_subgoal,
        alternatives=alternatives,
        model=decided.model,
        usage=decided.usage,
        timing_ms=decided.timing,
    )


def _meant(model: ServedModel, candidates: Sequence[Candidate]) -> list[Decision]:
    """What the model meant, without repetitions. If nothing of it can be read: its own words, best candidate's."""
    decisions: dict[str | None, Decision] = {}
    for one in candidates:
        try:
            text = model.format.parse(model.role, one.text)
        except WaymarkError:
            continue
        text = text if text is None else text[:_LONGEST_DECISION]
        decisions.setdefault(text, Decision(text=text, candidate=one))
    if not decisions:
        best = candidates[0]
        return [Decision(text=best.text[:_LONGEST_DECISION] or _NOTHING_SAID, candidate=best)]
    return list(decisions.values())


def _characters(state: AgentState) -> int:
    """How long the texts of a state are."""
    turns = sum(len(turn.action) + len(turn.observation) for turn in state.turns)
    return len(state.task) + len(state.look) + len(state.inventory) + len(state.observation) + turns
