"""What a request costs, and what is refused for its cost."""

from __future__ import annotations

import pytest

from waymark.errors import InputTooLarge
from waymark.inference.batching.request_cost import CostModel, check_cost

MODEL = CostModel(max_prompt_tokens=512, answer_tokens=64)


def test_a_plain_request_costs_its_prompt_and_an_answer() -> None:
    assert MODEL.of(300) == 364


def test_a_prompt_over_the_models_limit_costs_the_limit() -> None:
    assert MODEL.of(100_000) == 576


def test_beams_cost_an_answer_each() -> None:
    assert MODEL.of(300, n=16) == 300 + 16 * 64


def test_candidates_cost_their_prompt_where_it_is_read_again() -> None:
    again = CostModel(max_prompt_tokens=512, answer_tokens=64, rereads_prompt=True)
    assert again.of(300, candidates=256, candidate_tokens=2_560) == 256 * 310
    assert MODEL.of(300, candidates=256, candidate_tokens=2_560) == 300 + 2_560


def test_tokens_of_candidates_cost_as_much_as_reading_them_takes() -> None:
    slow = CostModel(max_prompt_tokens=512, answer_tokens=64, rereads_prompt=True, candidate_weight=5)
    assert slow.of(300, candidates=256, candidate_tokens=2_560) == 256 * 350
    assert slow.of(300, n=2) == 428


def test_a_refusal_names_figure_limit_and_remedy() -> None:
    check_cost(10, 10, "n")
    with pytest.raises(InputTooLarge, match=r"costs 4,321 tokens .* limit of 1,234\.") as refused:
        check_cost(4_321, 1_234, "valid_actions")
    assert refused.value.field == "valid_actions"
    assert "valid_actions" in str(refused.value.remedy)
