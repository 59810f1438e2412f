"""The fold from events to the agent's state."""

from __future__ import annotations

import pytest

from waymark import state
from waymark.contracts import AgentState

HALLWAY = "This room is called the hallway. In it, you see: \n\tthe agent\n"
OUTSIDE = "This outside location is called the outside. Here you see: \n\tthe agent\n"
GREENHOUSE = "This room is called the green house. In it, you see: \n\tthe agent\n"


@pytest.fixture
def begun() -> AgentState:
    return state.start("Boil water.", HALLWAY, "an orange")


def test_an_episode_starts_at_step_one_in_its_first_room(begun: AgentState) -> None:
    assert (begun.step, begun.score, begun.turns) == (1, 0, ())
    assert begun.visited_rooms == ("hallway",)
    assert begun.current_subgoal is None


@pytest.mark.parametrize(("look", "room"), [(HALLWAY, "hallway"), (OUTSIDE, "outside"), (GREENHOUSE, "greenhouse")])
def test_a_look_names_its_room_as_prompts_do(look: str, room: str) -> None:
    assert state.room_of(look) == room


def test_a_look_without_a_room_visits_none(begun: AgentState) -> None:
    assert state.room_of("It is dark.") is None
    assert state.after_step(begun, "wait1", "", "It is dark.", "", 0).visited_rooms == ("hallway",)


def test_a_step_aligns_look_and_inventory_with_what_it_left(begun: AgentState) -> None:
    after = state.after_step(begun, "teleport to outside", "You teleport.", OUTSIDE, "nothing", 8)
    assert (after.look, after.inventory, after.observation) == (OUTSIDE, "nothing", "You teleport.")
    assert (after.step, after.score, after.visited_rooms) == (2, 8, ("hallway", "outside"))
    assert after.turns[-1].action == "teleport to outside"


def test_rewards_are_changes_of_the_score_also_downwards(begun: AgentState) -> None:
    after = begun
    for score in (8, 8, -100):
        after = state.after_step(after, "wait1", "", HALLWAY, "", score)
    assert [turn.reward for turn in after.turns] == [8, 0, -108]
    assert sum(turn.reward for turn in after.turns) == after.score


def test_a_room_is_visited_once(begun: AgentState) -> None:
    after = state.after_step(begun, "go to outside", "", OUTSIDE, "", 0)
    assert state.after_step(after, "go to hallway", "", HALLWAY, "", 0).visited_rooms == ("hallway", "outside")


def test_a_new_subgoal_completes_all_before_it(begun: AgentState) -> None:
    third = state.with_subgoal(state.with_subgoal(state.with_subgoal(begun, "a"), "b"), "c")
    assert (third.completed_subgoals, third.current_subgoal) == (("a", "b"), "c")


def test_giving_the_current_subgoal_again_changes_nothing(begun: AgentState) -> None:
    given = state.with_subgoal(begun, "a")
    assert state.with_subgoal(given, "a") == given


def test_a_failed_step_keeps_the_subgoal(begun: AgentState) -> None:
    given = state.with_subgoal(begun, "a")
    after = state.after_step(given, "fly", "No known action matches that input.", HALLWAY, "an orange", 0)
    assert (after.current_subgoal, after.completed_subgoals) == ("a", ())


@pytest.mark.parametrize(("turns", "kept"), [(0, []), (2, ["2", "3"]), (9, ["1", "2", "3"])])
def test_recent_keeps_the_last_turns_and_the_count_of_all(begun: AgentState, turns: int, kept: list[str]) -> None:
    after = begun
    for action in ("1", "2", "3"):
        after = state.after_step(after, action, "", HALLWAY, "", 0)
    cut = state.recent(after, turns)
    assert [turn.action for turn in cut.turns] == kept
    assert cut.step == 4


def test_states_are_never_changed_in_place(begun: AgentState) -> None:
    before = begun.model_dump()
    state.with_subgoal(state.after_step(begun, "wait", "", OUTSIDE, "", 5), "a")
    assert begun.model_dump() == before
