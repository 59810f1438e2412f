"""A dataset's input is, byte for byte, what a service gives its model when the same episode is played."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import get_args

import pytest

from tests.replayed import RecordedPath, long_paths, play
from training.annotations import Annotation
from training.datasets import decisions, examples
from training.trajectories import Trajectory
from waymark.contracts import AgentState, Role
from waymark.worlds.base import SOLVED
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.subgoal_end import is_over

pytestmark = pytest.mark.anyio

LONGER_THAN = 45
"""More turns than any format shows, so that every prompt is cut somewhere on the path."""


@cache
def paths() -> list[tuple[Trajectory, Annotation]]:
    """Long paths of tasks that measure, wait, connect and cross: 2-2 has the sub-goals with most actions."""
    return long_paths(("2-2", "5-2", "10-1"), LONGER_THAN)


@pytest.mark.parametrize("format_name", ["seed", "compact", "seed-nohistory", "compact-nohistory", "transcript"])
@pytest.mark.parametrize("role", get_args(Role))
async def test_long_episodes_are_served_the_prompts_of_the_dataset(role: Role, format_name: str) -> None:
    assert get_format(format_name).history_turns < LONGER_THAN
    for path, annotation in paths():
        await check(path, annotation, {role: format_name, **others(role, format_name)})


@pytest.mark.parametrize(("controller", "executor"), [("seed", "compact"), ("compact-nohistory", "seed")])
async def test_models_of_two_formats_are_served_their_own_prompts(controller: str, executor: str) -> None:
    for path, annotation in paths():
        await check(path, annotation, {"controller": controller, "executor": executor})


async def check(path: Trajectory, annotation: Annotation, formats: Mapping[Role, str]) -> None:
    """Play the path and compare every prompt of every role that was asked."""
    recorded = RecordedPath(path, annotation)
    result = await play(recorded, path, formats)
    assert (result.stopped, result.actions) == ("completed", len(path.steps))
    for role, format_name in formats.items():
        dataset = examples([path], {path.key: annotation}, role, get_format(format_name))
        are_asked = [is_asked(decision.state, role, formats) for decision in decisions(path, annotation, role)]
        expected = [example.prompt.encode() for example, yes in zip(dataset, are_asked, strict=True) if yes]
        assert [prompt.encode() for prompt in recorded.prompts[role].values()] == expected


def is_asked(state: AgentState, role: Role, formats: Mapping[Role, str]) -> bool:
    """Whether the loop asks this model here.

    It asks nobody once the task is solved, nor the executor whether a counted wait is over; and before the first turn
    a model of the role `first` answers, if there is one.
    """
    if role == "controller" and "first" in formats and not state.turns:
        return False
    return state.score < SOLVED and not (role == "executor" and is_over(state))


def others(role: Role, format_name: str) -> dict[Role, str]:
    """The models that a worker needs besides this one to play."""
    needed: dict[Role, tuple[Role, ...]] = {
        "controller": ("executor",),
        "executor": ("controller",),
        "first": ("controller", "executor"),
        "flat": (),
    }
    return dict.fromkeys(needed[role], format_name)
