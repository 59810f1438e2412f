"""Choosing among candidates over a model that fits on a page, held to what reading all of them gives."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.vllm_server import END, next_logprobs
from waymark.inference.engines.best_first import Answer, Read, best

VOCABULARY = 5


def reading(read: list[tuple[int, Answer]]) -> Read:
    """The model; notes what it reads."""

    def rows(beginnings: Sequence[tuple[int, Answer]]) -> list[list[list[float]]]:
        read.extend(beginnings)
        return [
            [next_logprobs([number + 5, *answer[:place]], VOCABULARY) for place in range(len(answer))]
            for number, answer in beginnings
        ]

    return rows


def logprobs(number: int, answer: Answer) -> list[float]:
    """Of each token of an answer."""
    return [next_logprobs([number + 5, *answer[:place]], VOCABULARY)[token] for place, token in enumerate(answer)]


def mean(number: int, answer: Answer) -> float:
    return sum(logprobs(number, answer)) / len(answer)


def some_answers(seed: int, count: int) -> list[Answer]:
    """Answers of one to five tokens before the end, many of which begin alike."""
    chance = random.Random(seed)
    words = [token for token in range(VOCABULARY) if token != END]
    return [(*chance.choices(words, weights=(9, 3, 1, 1), k=chance.randint(0, 5)), END) for _ in range(count)]


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_the_best_are_those_that_reading_every_candidate_finds(n: int) -> None:
    candidates = [some_answers(number, count) for number, count in enumerate((30, 1, 0, 12))]
    for number, (answers, ranking) in enumerate(zip(candidates, best(reading([]), candidates, n), strict=True)):
        means = [mean(number, answer) for answer in answers]
        by_mean = sorted(range(len(answers)), key=means.__getitem__, reverse=True)
        assert [ranked.place for ranked in ranking] == by_mean[:n]
        for ranked in ranking:
            assert ranked.logprobs == pytest.approx(logprobs(number, answers[ranked.place]))


def test_candidates_that_cannot_be_the_best_are_not_read() -> None:
    candidates = [list(dict.fromkeys(some_answers(number, 60))) for number in range(4)]
    read: list[tuple[int, Answer]] = []
    best(reading(read), candidates, 1)
    assert len(read) < sum(map(len, candidates)) / 2
    assert len(set(read)) == len(read)
