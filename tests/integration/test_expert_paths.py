"""Direct paths in the real simulator: what the small house of the unit tests cannot show."""

from __future__ import annotations

import pytest

from training.annotations import annotate_by_rule
from training.trajectories import Wanted
from training.worlds.scienceworld.expert import WITHOUT_ORACLE
from training.worlds.scienceworld.paths import directly
from waymark.worlds.scienceworld.environment import ScienceWorldSlot


@pytest.mark.parametrize(
    ("task", "variation", "subgoals"),
    [
        (
            "3-4",
            7,
            ["build_circuit(battery, green light bulb, unknown substance b)", "move(unknown substance b, blue box)"],
        ),
        ("8-1", 4, ["focus_on(frog egg)", "wait_for_change(frog egg)", "focus_on(tadpole)"]),
        ("10-2", 6, ["close(door to hallway)", "open(bee hive)", "focus_on(red box)"]),
    ],
)
def test_the_experts_path_solves_its_task_in_time(
    slot: ScienceWorldSlot, task: str, variation: int, subgoals: list[str]
) -> None:
    oracle = [] if task in WITHOUT_ORACLE else slot.gold_path(task, variation, "easy")
    path = directly(slot, Wanted(task, variation, "easy"), oracle)
    assert path is not None
    assert (path.score, path.steps[-1].moves <= 100) == (100, True)
    named = [segment.subgoal for segment in annotate_by_rule(path).segments]
    assert [subgoal for subgoal in named if subgoal in subgoals] == subgoals
