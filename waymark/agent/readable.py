"""Which of a service's alternatives can be used: those that were parsed, their texts as a state can carry them.

A service of an older version marks nothing; its blank texts are left out here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from waymark.contracts import ActionResponse, SubgoalResponse

_LONGEST: Final = 500


class Decision(NamedTuple):
    """What the executor decided; `action` is null when it ends the sub-goal."""

    action: str | None
    logprob: float | None


def decisions_of(answer: ActionResponse) -> list[Decision]:
    """The executor's usable alternatives, best first."""
    if not answer.alternatives and answer.parsed and (answer.action is None or answer.action.strip()):
        return [Decision(answer.action and answer.action.strip()[:_LONGEST], None)]
    usable: list[Decision] = []
    for one in answer.alternatives:
        if one.parsed and one.action is None:
            usable.append(Decision(None, one.logprob))
        elif one.parsed and one.action and one.action.strip():
            usable.append(Decision(one.action.strip()[:_LONGEST], one.logprob))
    return usable


def subgoals_of(answer: SubgoalResponse) -> list[tuple[str, float]]:
    """The controller's usable alternatives with their log-probabilities, best first."""
    return [
        (one.subgoal.strip()[:_LONGEST], one.logprob)
        for one in answer.alternatives
        if one.parsed and one.subgoal.strip()
    ]
