"""From what a model wrote to decisions. Text that stands for none is kept, marked, and never returned as a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from waymark.contracts import Role
from waymark.errors import UnparsableAction, WaymarkError
from waymark.inference import Candidate
from waymark.worlds.base import PromptFormat
from waymark.worlds.registry import world_of_format

MAX_DECISION: Final = 500
"""Characters of the contracts' `Phrase`: a decision goes back into the next state."""
MAX_RAW: Final = 500
"""Characters of unreadable text that an answer quotes."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that a model said. `text` is null when it ends the sub-goal, and when it could not be read."""

    text: str | None
    candidate: Candidate
    parsed: bool = True

    @property
    def raw(self) -> str | None:
        """What the model wrote, cut, if it could not be read; else None."""
        return None if self.parsed else self.candidate.text[:MAX_RAW]


def read(prompt_format: PromptFormat, role: Role, candidates: Sequence[Candidate]) -> list[Decision]:
    """The decision of each candidate, best first, repetitions left out.

    Text that cannot be read is left out too, unless nothing can be: then all of it is returned, marked.
    """
    decisions: dict[tuple[bool, str | None], Decision] = {}
    for candidate in candidates:
        try:
            decision = Decision(parse(prompt_format, role, candidate.text), candidate)
        except WaymarkError:
            decision = Decision(None, candidate, parsed=False)
        key = (decision.parsed, decision.text if decision.parsed else candidate.text)
        decisions.setdefault(key, decision)
    return [decision for decision in decisions.values() if decision.parsed] or list(decisions.values())


def parse(prompt_format: PromptFormat, role: Role, text: str) -> str | None:
    """The decision that a model's text stands for; None ends the sub-goal.

    Raises UnparsableAction for text that the format cannot read, that is over 500 characters long, that holds control
    characters or no letter and no digit, or that is a forbidden action of the format's world.
    """
    decision = prompt_format.parse(role, text)
    if decision is None:
        return None
    if len(decision) > MAX_DECISION:
        raise UnparsableAction(f"The model wrote {len(decision)} characters; a decision has at most {MAX_DECISION}.")
    if not decision.isprintable() or not any(map(str.isalnum, decision)):
        raise UnparsableAction("The model wrote control characters, or neither letters nor digits.")
    if " ".join(decision.lower().split()) in world_of_format(prompt_format.name).forbidden_actions:
        raise UnparsableAction(f"{decision!r} would restart the episode.")
    return decision
