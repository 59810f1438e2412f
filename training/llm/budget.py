"""Estimates the cost of annotation before the first call, and stops it at a limit.

Tokens are counted as characters by a fixed ratio until the endpoint has said how many there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from training.llm import prompts
from training.llm.prompts import AnnotationPrompts
from training.llm.stored_answers import Tokens, Usage
from training.trajectories import Trajectory
from waymark.clients.chat import Answer, Message
from waymark.errors import InvalidInput, ServiceError

CHARACTERS_PER_TOKEN: Final = 3.5
"""Characters of a token in texts with names of the game and punctuation; English prose has 4 to 5."""
_REPAIRED: Final = 0.1
"""Assumed share of paths that need one more call."""
_SUBGOAL_SHARE: Final = 0.4
"""An answer repeats the actions and adds names of sub-goals; these add this share to its length."""


@dataclass(frozen=True)
class Prices:
    """Prices of one million tokens, in any currency."""

    prompt: float
    completion: float

    def cost(self, tokens: Tokens) -> float:
        """The cost of some answers."""
        return (tokens.prompt * self.prompt + tokens.completion * self.completion) / 1e6


@dataclass(frozen=True)
class Estimate:
    """Estimated tokens and cost of some paths, computed from their lengths."""

    paths: int
    calls: int
    tokens: Tokens
    cost: float | None
    """None without prices."""

    def __str__(self) -> str:
        text = (
            f"about {self.calls:,} calls for {self.paths:,} paths, {self.tokens.prompt:,} prompt and "
            f"{self.tokens.completion:,} completion tokens"
        )
        return text if self.cost is None else f"{text}, cost {self.cost:.2f}"


def estimate(
    trajectories: Sequence[Trajectory], prices: Prices | None, annotation_prompts: AnnotationPrompts
) -> Estimate:
    """The estimate for annotating these paths from nothing. Stored answers cost nothing, but count here."""
    return estimate_paths([_characters(path) for path in trajectories], prices, annotation_prompts)


def estimate_paths(
    characters: Sequence[tuple[int, int]], prices: Prices | None, annotation_prompts: AnnotationPrompts
) -> Estimate:
    """The same, from the number of characters of each path's question and answer."""
    opening = sum(len(message["content"]) for message in prompts.opening(annotation_prompts))
    example = max((question + answer for question, answer in characters), default=0)
    asked = sum(opening + min(example, question + answer) + question for question, answer in characters)
    answered = sum(answer for _, answer in characters)
    more = 1 + _REPAIRED
    tokens = Tokens(
        answers=round(len(characters) * more),
        prompt=round((asked + _REPAIRED * (asked + answered)) / CHARACTERS_PER_TOKEN),
        completion=round(answered * more / CHARACTERS_PER_TOKEN),
    )
    return Estimate(len(characters), tokens.answers, tokens, prices.cost(tokens) if prices else None)


def _characters(path: Trajectory) -> tuple[int, int]:
    actions = [step.action for step in path.steps if not step.detour]
    listed = sum(len(action) + 4 for action in actions)
    return len(path.task) + listed, round(listed * (1 + _SUBGOAL_SHARE))


class Budget:
    """Allows calls while their total cost, including stored answers, stays within a limit. None: no limit.

    A running call counts with its estimate, so that parallel calls cannot exceed the limit together. `option` is the
    name of the limit on the command line.
    """

    def __init__(self, limit: float | None, prices: Prices | None, usage: Usage, *, option: str = "--max-cost") -> None:
        if limit is not None and prices is None:
            raise InvalidInput(
                f"{option} needs prices.", remedy="Give --prompt-price and --completion-price.", field="max_cost"
            )
        self.limit = limit
        self._prices = prices
        self._usage = usage
        self._option = option
        self._under_way = 0.0
        self._unmetered = 0.0
        self.is_spent = False

    @property
    def spent(self) -> float:
        """The cost of all answers so far: those of this run, and those of earlier runs that it has used."""
        if self._prices is None:
            return 0.0
        return self._prices.cost(self._usage.asked) + self._prices.cost(self._usage.cached) + self._unmetered

    def require(self, estimated: Estimate) -> None:
        """Raise InvalidInput when an estimate passes the limit."""
        if self.limit is not None and estimated.cost is not None and estimated.cost > self.limit:
            raise InvalidInput(
                f"The estimate is over {self._option} {self.limit:g}: {estimated}.",
                remedy="Raise it, annotate fewer paths of a task with --limit, or use a cheaper model.",
                field="max_cost",
            )

    def begin(self, messages: Iterable[Message]) -> float:
        """Count a call that is about to be made; returns its estimated cost. Raises ServiceError if the limit would be
        exceeded.
        """
        if self.limit is None or self._prices is None:
            return 0.0
        *_, last = contents = [message["content"] for message in messages]
        call = Tokens(
            prompt=round(sum(map(len, contents)) / CHARACTERS_PER_TOKEN),
            completion=round(len(last) * (1 + _SUBGOAL_SHARE) / CHARACTERS_PER_TOKEN),
        )
        cost = self._prices.cost(call)
        if self.is_spent or self.spent + self._under_way + cost > self.limit:
            self.is_spent = True
            raise ServiceError(f"Not asked: {self.spent:.4f} of {self._option} {self.limit:g} is spent.")
        self._under_way += cost
        return cost

    def end(self, cost: float, answer: Answer | None) -> None:
        """End a running call. If the endpoint did not count its tokens, it costs its estimate."""
        self._under_way -= cost
        if answer is not None and (answer.prompt_tokens is None or answer.completion_tokens is None):
            self._unmetered += cost
