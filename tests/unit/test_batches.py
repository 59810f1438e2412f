from collections import Counter

import pytest

from training.batches import Batches
from training.datasets import Example
from training.recipe import Recipe

EASY, HARD, OTHER = (Example(task, 0, prompt, "end", "") for task, prompt in (("1-1", "a"), ("1-1", "b"), ("4-2", "c")))


def drawn(losses: list[float] | None, hard: float) -> Counter[str]:
    """How often each prompt is drawn in 64 batches of 50."""
    batches = Batches([EASY, HARD, OTHER], Recipe(batch=50, rename=0.0, temperature=1.0, hard=hard), losses)
    return Counter(prompt for number in range(64) for prompt, _ in batches[number])


def test_without_losses_all_examples_are_drawn_alike() -> None:
    counts = drawn(None, 0.0)
    assert all(900 < count < 1_250 for count in counts.values())


@pytest.mark.parametrize(("hard", "times"), [(0.5, 3.3), (1.0, 11.0)])
def test_hard_examples_are_drawn_more_often_and_none_is_forgotten(hard: float, times: float) -> None:
    counts = drawn([0.0, 1.0, 0.0], hard)
    assert counts["b"] / counts["a"] == pytest.approx(times, rel=0.25)
    assert counts["c"] > 50


def test_a_batch_depends_on_its_number_alone() -> None:
    recipe = Recipe(batch=4, rename=0.0)
    corpus = [EASY, HARD, OTHER]
    forward, backward = Batches(corpus, recipe), Batches(corpus, recipe)
    assert [forward[number] for number in (0, 40)] == [backward[number] for number in (40, 0)][::-1]
