"""The models' alternatives in one turn, for its record: a few, with rounded log-probabilities.

A run folder must not grow by more than half. So only each model's widest answer of the turn is kept, cut to five
alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from waymark.contracts import ActionResponse, Considered, SubgoalResponse, TurnRecord

MOST: Final = 5
"""Number of alternatives of one model that a turn keeps, besides the one that was followed."""
_DIGITS: Final = 3
_LEAST: Final = -1e6
"""The smallest log-probability in a record; JSON has no infinity."""


class Alternatives:
    """Collects the answers of one turn."""

    def __init__(self) -> None:
        self._subgoals: list[Considered] = []
        self._actions: list[Considered] = []

    def add_subgoals(self, answer: SubgoalResponse) -> None:
        """Record an answer of the controller; a wider answer replaces a narrower one."""
        if len(answer.alternatives) >= len(self._subgoals):
            self._subgoals = [
                _considered(alternative.subgoal, alternative.logprob)
                for alternative in answer.alternatives
                if alternative.parsed
            ]

    def add_actions(self, answer: ActionResponse) -> None:
        """Record an answer of the executor to a request without candidates."""
        if len(answer.alternatives) >= len(self._actions):
            self._actions = [
                _considered(alternative.action, alternative.logprob)
                for alternative in answer.alternatives
                if alternative.parsed
            ]

    def note(self, turn: TurnRecord) -> TurnRecord:
        """The turn with its alternatives."""
        return turn.model_copy(
            update={
                "subgoals": _shown(self._subgoals, (turn.subgoal,)),
                "actions": _shown(self._actions, (turn.action, turn.proposed)),
            }
        )


def _considered(text: str | None, logprob: float) -> Considered:
    return Considered(text, round(max(_LEAST, logprob), _DIGITS))


def _shown(alternatives: list[Considered], followed: Iterable[str | None]) -> tuple[Considered, ...]:
    """The first few alternatives, and later ones that were followed."""
    kept = alternatives[:MOST]
    kept += [
        alternative
        for alternative in alternatives[MOST:]
        if alternative.text is not None and alternative.text in followed
    ]
    return tuple(kept)
