"""Expert iteration: decisions are drawn, and the shortest solved episode is kept."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.test_dagger import Follower
from tests.oracle import trajectories
from training.worlds.scienceworld.dagger import FIRST_TAKE
from training.worlds.scienceworld.self_play import SELF_PLAY, Played, drawn_first, plan, shortest
from waymark.contracts import SubgoalAlternative
from waymark.worlds.scienceworld.environment import ScienceWorldSlot

IDLE = ("teleport to kitchen", "teleport to outside")


@pytest.fixture(scope="module")
def planned() -> list[Played]:
    return plan(trajectories(), 2, 3, Path("checkpoints"), "hierarchical", temperature=1.0, without_rules=True)


def test_every_task_type_is_played_alike_often(planned: list[Played]) -> None:
    assert set(Counter(variation.task_id for variation in planned).values()) == {3}
    assert len(planned) == 90
    assert all(variation.known_length and variation.oracle for variation in planned)


def test_an_episode_shorter_than_the_known_path_is_kept(slot: ScienceWorldSlot, planned: list[Played]) -> None:
    wanted = next(variation for variation in planned if variation.task_id == "4-1")
    solves = Follower(wanted.oracle)
    assert shortest(slot, wanted, solves, solves) == []
    longer = replace(wanted, known_length=wanted.known_length + 1)
    [kept] = shortest(slot, longer, solves, solves)
    assert (kept.score, kept.take, kept.split) == (100, SELF_PLAY, "train")
    assert [step.action for step in kept.steps] == list(wanted.oracle)
    assert SELF_PLAY <= kept.take < FIRST_TAKE


def test_an_episode_that_does_not_solve_is_not_kept(slot: ScienceWorldSlot, planned: list[Played]) -> None:
    wanted = next(variation for variation in planned if variation.task_id == "4-1")
    lost = Follower(IDLE * 200)
    assert shortest(slot, replace(wanted, rollouts=1, known_length=0), lost, lost) == []


def alternatives(*logprobs: float) -> list[SubgoalAlternative]:
    return [
        SubgoalAlternative(subgoal=f"go({place})", logprob=logprob, mean_logprob=logprob)
        for place, logprob in enumerate(logprobs)
    ]


def test_alternatives_are_drawn_by_their_probability() -> None:
    rng, choices = random.Random(0), alternatives(-0.2, -1.6, -5.0)
    drawn = Counter(drawn_first(choices, rng, 1.0)[0].subgoal for _ in range(2_000))
    assert drawn["go(0)"] / 2_000 == pytest.approx(0.797, abs=0.03)
    assert drawn["go(1)"] / 2_000 == pytest.approx(0.196, abs=0.03)
    cold = {drawn_first(choices, rng, 0.05)[0].subgoal for _ in range(200)}
    assert cold == {"go(0)"}


def test_unreadable_alternatives_are_not_drawn() -> None:
    unread = SubgoalAlternative(subgoal="", parsed=False, raw="?", logprob=0.0, mean_logprob=0.0)
    choices = [unread, *alternatives(-3.0, -3.0)]
    for seed in range(20):
        ordered = drawn_first(choices, random.Random(seed), 1.0)
        assert ordered[0].parsed
        assert sorted(alternative.subgoal for alternative in ordered) == sorted(
            alternative.subgoal for alternative in choices
        )
