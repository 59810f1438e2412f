"""What made two plays of one episode differ first."""

from __future__ import annotations

import pytest

from benchmarks.randomness import compare
from tests.samples import result
from waymark.contracts import EpisodeResult, Opening, TurnRecord


def played(*turns: tuple[str, str, float], look: str = "a hall") -> EpisodeResult:
    """An episode of these actions, answers and log-probabilities."""
    trajectory = tuple(
        TurnRecord(
            turn=number,
            subgoal=None,
            controller_called=False,
            action=action,
            proposed=action,
            logprob=logprob,
            observation=answer,
        )
        for number, (action, answer, logprob) in enumerate(turns, start=1)
    )
    opening = Opening(task="Boil it.", look=look, inventory="")
    return result("a").model_copy(update={"trajectory": trajectory, "opening": opening})


FIRST = played(("wait1", "You wait.", -0.1), ("look around", "A hall.", -0.2))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (FIRST, ("nothing", 2, 0)),
        (played(look="a kitchen"), ("opening", 0, 0)),
        (played(("wait1", "You wait.", -0.1), ("look around", "A bee.", -0.2)), ("environment", 2, 0)),
        (played(("wait1", "A bee!", -0.1), ("eat bee", "Done.", -0.2)), ("environment", 1, 0)),
        (played(("wait1", "You wait.", -0.1), ("inventory", "An orange.", -0.2)), ("decision", 1, 0)),
        (played(("wait1", "You wait.", -0.3), ("look around", "A hall.", -0.2)), ("nothing", 2, 1)),
    ],
)
def test_the_first_difference_names_its_cause(other: EpisodeResult, expected: tuple[str, int, int]) -> None:
    assert compare(FIRST, other) == expected
