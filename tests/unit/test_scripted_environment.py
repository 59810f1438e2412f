"""The scripted world keeps the promises of the environment port."""

from __future__ import annotations

import pytest

from waymark.worlds.base import Environment, Step
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.scene import room_of
from waymark.worlds.scripted.environment import ScriptedEnvironment


@pytest.fixture
def world() -> Environment:
    environment = ScriptedEnvironment()
    environment.reset("4-2", 225, "easy")
    return environment


def play(world: Environment, *taken: str) -> Step:
    return [world.step(action) for action in taken][-1]


def test_focusing_on_a_thing_and_boxing_it_solves_the_task(world: Environment) -> None:
    assert play(world, "go to kitchen", "focus on thermometer").score == 50
    assert not world.step("pick up thermometer").completed
    last = world.step("move thermometer to red box")
    assert (last.score, last.completed) == (100, True)


def test_boxing_another_thing_than_the_focused_one_solves_nothing(world: Environment) -> None:
    last = play(world, "focus on picture", "teleport to kitchen", "move thermometer to red box")
    assert (last.score, last.completed) == (50, False)


def test_focusing_on_a_living_thing_scores_minus_100(world: Environment) -> None:
    last = world.step("focus on orange in inventory")
    assert (last.score, last.completed) == (-100, False)


@pytest.mark.parametrize("action", ["fly up", "pick up dove", "go to moon", "reset task", "eat orange"])
def test_an_unknown_action_costs_nothing_and_changes_nothing(world: Environment, action: str) -> None:
    before = world.step("look around")
    after = world.step(action)
    assert not after.known
    assert after.observation == "No known action matches that input."
    assert (after.look, after.inventory, after.moves) == (before.look, before.inventory, 0)


def test_an_ambiguous_name_is_the_first_of_them_and_flagged(world: Environment) -> None:
    first = play(world, "go to kitchen", "pick up cup")
    assert first.ambiguous
    assert first.inventory.count("a cup") == 1
    assert not world.step("put down cup in inventory").ambiguous


def test_moves_count_as_in_the_simulator(world: Environment) -> None:
    taken = ["look around", "inventory", "task", "wait1", "wait", "go to kitchen"]
    assert [world.step(action).moves for action in taken] == [0, 0, 0, 2, 13, 14]


def test_look_and_inventory_are_those_after_the_action(world: Environment) -> None:
    step = play(world, "teleport to outside", "get axe")
    assert room_of(step.look) == "outside"
    assert "axe" not in step.look
    assert "axe" in step.inventory


@pytest.mark.parametrize("room", ["hallway", "kitchen", "outside"])
def test_every_valid_action_is_canonical_and_understood(world: Environment, room: str) -> None:
    world.step(f"teleport to {room}")
    for action in world.valid_actions():
        assert actions.format(actions.parse(action)) == action
        fresh = ScriptedEnvironment()
        fresh.step(f"teleport to {room}")
        assert fresh.step(action).known


def test_reset_begins_the_same_episode_again(world: Environment) -> None:
    opening = world.reset("1-1", 0, "easy")
    play(world, "get picture", "teleport to outside", "focus on dove")
    assert world.reset("9-3", 7, "") == opening
    assert world.step("wait1").score == 0
