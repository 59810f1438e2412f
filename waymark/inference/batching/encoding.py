"""The tokens and the cost of a piece of work: estimated before it enters the queue, counted after it is tokenised."""

from __future__ import annotations

import math

from waymark.errors import InputTooLarge
from waymark.inference import Encoded, Generator
from waymark.inference.batching.queries import Query, Work
from waymark.inference.batching.request_cost import CHARACTERS_A_TOKEN, MOST_CHARACTERS_A_TOKEN, CostModel


class WorkEncoder:
    """Tokenises work for one model, whose prompts may have `max_input_tokens`. Costs over `max_cost` are exact."""

    def __init__(
        self, generator: Generator, costs: CostModel | None, *, max_input_tokens: int, max_cost: float = math.inf
    ) -> None:
        self._generator = generator
        self._costs = costs or CostModel()
        self._max_input_tokens = max_input_tokens
        self._max_cost = max_cost

    def expected_cost(self, work: Work) -> int:
        """The estimated cost of work before it is tokenised, in tokens."""
        return self._costs.of(work.tokens, work.n, work.candidates, work.candidate_characters // CHARACTERS_A_TOKEN)

    def cost(self, query: Query, encoded: Encoded) -> int:
        """The cost of a query. Candidates are tokenised for it only if it may be over the limit."""
        texts = query.candidates or ()
        prompt, characters = len(encoded.ids), sum(map(len, texts))
        if not texts or self._costs.of(prompt, query.n, len(texts), characters + len(texts)) <= self._max_cost:
            return self._costs.of(prompt, query.n, len(texts), characters // CHARACTERS_A_TOKEN + len(texts))
        tokens = sum(len(text.ids) + text.truncated for text in self._generator.encode(texts))
        return self._costs.of(prompt, query.n, len(texts), tokens)

    def encode(self, query: Query, work: Work) -> Encoded:
        """The prompt's tokens. Raises InputTooLarge."""
        if len(query.prompt) > self._max_input_tokens * MOST_CHARACTERS_A_TOKEN:
            raise InputTooLarge(
                f"The prompt has {len(query.prompt)} characters, over the limit of {self._max_input_tokens} tokens.",
                remedy="Send fewer turns or shorter texts.",
                field=work.field,
            )
        encoded = self._generator.encode([query.prompt])[0]
        tokens = len(encoded.ids) + encoded.truncated
        if tokens > self._max_input_tokens:
            raise InputTooLarge(
                f"The prompt has {tokens} tokens, over the limit of {self._max_input_tokens}.",
                remedy="Send fewer turns or shorter texts.",
                field=work.field,
            )
        return encoded
