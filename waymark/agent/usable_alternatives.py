"""The usable alternatives of a service's answer: those that were parsed, at most 500 characters of each.

Services of older versions have no such mark, so blank texts are left out here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from waymark.contracts import ActionResponse, SubgoalResponse

_LONGEST: Final = 500


class Decision(NamedTuple):
    """One decision of the executor; `action` is None when it ends the sub-goal."""

    action: str | None
    logprob: float | None


def decisions_of(answer: ActionResponse) -> list[Decision]:
    """The executor's usable alternatives, best first."""
    if not answer.alternatives and answer.parsed and (answer.action is None or answer.action.strip()):
        return [Decision(answer.action and answer.action.strip()[:_LONGEST], None)]
    usable: list[Decision] = []
    for alternative in answer.alternatives:
        if alternative.parsed and alternative.action is None:
            usable.append(Decision(None, alternative.logprob))
        elif alternative.parsed and alternative.action and alternative.action.strip():
            usable.append(Decision(alternative.action.strip()[:_LONGEST], alternative.logprob))
    return usable


def subgoals_of(answer: SubgoalResponse) -> list[tuple[str, float]]:
    """The controller's usable alternatives with their log-probabilities, best first."""
    return [
        (alternative.subgoal.strip()[:_LONGEST], alternative.logprob)
        for alternative in answer.alternatives
        if alternative.parsed and alternative.subgoal.strip()
    ]
