"""The cost of a request in tokens: estimated before it enters the queue, counted after it is tokenised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from waymark.errors import InputTooLarge

CHARACTERS_A_TOKEN = 4
"""Characters of ordinary text for each token, to estimate the cost of a text before it is tokenised."""
MOST_CHARACTERS_A_TOKEN = 8
"""A prompt with more characters for each token that is admitted is refused without being tokenised."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """How one model's engine reads and writes; costs are tokens that it computes."""

    max_prompt_tokens: int = 1_000_000
    """Longer prompts are cut to this number of tokens."""
    answer_tokens: int = 0
    """Largest number of tokens of one answer."""
    rereads_prompt: bool = False
    """Whether each candidate costs its prompt again."""
    candidate_weight: int = 1
    """How many tokens of a prompt cost as much as one token of a candidate."""

    def of(self, prompt_tokens: int, n: int = 1, candidates: int = 0, candidate_tokens: int = 0) -> int:
        """The cost of the prompt and `n` answers of full length; or, with `candidates`, of the candidates, which have
        `candidate_tokens` in all.
        """
        prompt = min(prompt_tokens, self.max_prompt_tokens)
        if not candidates:
            return prompt + n * self.answer_tokens
        return prompt * (candidates if self.rereads_prompt else 1) + self.candidate_weight * candidate_tokens


def check_cost(cost: int, limit: float, field: str) -> None:
    """Raise InputTooLarge for a request, or a list of them, over the limit."""
    if cost > limit and math.isfinite(limit):
        raise InputTooLarge(
            f"The request costs {cost:,} tokens (prompt, answers and candidates), over the limit of {int(limit):,}.",
            remedy="Send fewer or shorter valid_actions, a smaller n, or several requests; /info has the limit.",
            field=field,
        )
