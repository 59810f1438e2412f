"""What annotating will cost, and the limit that stops it."""

from __future__ import annotations

import pytest

from tests.oracle import one_of_each_task
from training.llm.budget import Budget, Prices, estimate
from training.llm.stored_answers import Tokens, Usage
from training.worlds.scienceworld.annotation_prompts import PROMPTS
from waymark.clients.chat import Answer, Message
from waymark.errors import InvalidInput, ServiceError

PRICES = Prices(1_000_000.0, 1_000_000.0)
"""One a token."""
QUESTION: list[Message] = [{"role": "user", "content": "x" * 35}]
"""Ten tokens, and fourteen of its answer."""


def test_an_estimate_grows_with_the_paths() -> None:
    paths = one_of_each_task()
    half, whole = estimate(paths[:15], PRICES, PROMPTS), estimate(paths, PRICES, PROMPTS)
    assert whole.paths == 30
    assert whole.calls == 33
    assert half.cost is not None
    assert whole.cost is not None
    assert 1.5 < whole.cost / half.cost < 3
    assert estimate(paths, None, PROMPTS).cost is None


def test_an_estimate_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="over --max-cost 1: about 33 calls"):
        Budget(1, PRICES, Usage()).require(estimate(one_of_each_task(), PRICES, PROMPTS))


def test_a_limit_without_prices_is_refused() -> None:
    with pytest.raises(InvalidInput, match="needs prices"):
        Budget(1, None, Usage())


def test_calls_under_way_count_until_they_end() -> None:
    budget = Budget(50, PRICES, Usage())
    first = budget.begin(QUESTION)
    assert first == 24
    budget.begin(QUESTION)
    with pytest.raises(ServiceError, match="Not asked"):
        budget.begin(QUESTION)
    assert budget.is_spent


def test_the_budget_counts_cached_and_unmetered_answers() -> None:
    usage = Usage(cached=Tokens(prompt=20, completion=20))
    budget = Budget(100, PRICES, usage)
    budget.end(budget.begin(QUESTION), Answer(text="without a count"))
    assert budget.spent == 64
    with pytest.raises(ServiceError, match=r"64\.0000 of --max-cost 100"):
        budget.begin(QUESTION * 3)
