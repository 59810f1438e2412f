"""Beam search over a model that fits on a page, held to a list of all its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pytest

from tests.vllm_server import END, next_logprobs
from waymark.inference.engines.beam_search import Beam, Following, search

VOCABULARY, LONGEST = 4, 4


def following(width: int, first: int = 0) -> Following:
    """The model's next tokens for prompts numbered from `first`."""

    def nexts(beginnings: Sequence[tuple[int, Beam]]) -> list[Mapping[int, float]]:
        known = [
            dict(enumerate(next_logprobs([first + number + 5, *beam.tokens], VOCABULARY)))
            for number, beam in beginnings
        ]
        return [dict(sorted(after.items(), key=lambda item: -item[1])[: width + 1]) for after in known]

    return nexts


def all_answers(prompt: int) -> list[Beam]:
    """Every answer, likeliest first: what ends with the end token, or has as many tokens as there may be."""
    beams = []
    for length in range(1, LONGEST + 1):
        for tokens in product(range(VOCABULARY), repeat=length):
            if END in tokens[:-1] or (length < LONGEST and tokens[-1] != END):
                continue
            logprob = sum(
                next_logprobs([prompt + 5, *tokens[:place]], VOCABULARY)[token] for place, token in enumerate(tokens)
            )
            beams.append(Beam(tokens, logprob))
    return sorted(beams, key=lambda beam: beam.logprob, reverse=True)


def test_the_widest_search_finds_the_likeliest_answers() -> None:
    width = VOCABULARY**LONGEST
    for prompt, beams in enumerate(search(following(width), 3, width=width, end=END, max_tokens=LONGEST)):
        expected = all_answers(prompt)
        assert [beam.tokens for beam in beams[:20]] == [beam.tokens for beam in expected[:20]]
        assert [beam.logprob for beam in beams[:20]] == pytest.approx([beam.logprob for beam in expected[:20]])


def test_prompts_searched_together_give_the_same_results_as_alone() -> None:
    together = search(following(3), 4, width=3, end=END, max_tokens=LONGEST)
    for number, beams in enumerate(together):
        alone = search(following(3, number), 1, width=3, end=END, max_tokens=LONGEST)
        assert alone == [beams]


def test_a_search_ends_once_no_beam_can_improve() -> None:
    counts: list[int] = []

    def certain(beginnings: Sequence[tuple[int, Beam]]) -> list[Mapping[int, float]]:
        counts.append(len(beginnings))
        return [{END: -0.1, 2: -3.0, 3: -4.0} for _ in beginnings]

    [beams] = search(certain, 1, width=2, end=END, max_tokens=50)
    assert [beam.tokens for beam in beams] == [(END,), (2, END)]
    assert counts == [1, 2]
