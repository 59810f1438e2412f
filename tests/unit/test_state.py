"""The fold from events to the agent's state."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from waymark.agent import state
from waymark.agent.prompt import write_prompt
from waymark.agent.state import StateFold
from waymark.contracts import MOST_ROOMS, MOST_SUBGOALS, MOST_TURNS, AgentState, Role, Turn
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.scene import room_of

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
    assert room_of(look) == room


def test_a_look_without_a_room_visits_none(begun: AgentState) -> None:
    assert room_of("It is dark.") is None
    assert state.after_step(begun, "wait1", "", "It is dark.", "", 0).visited_rooms == ("hallway",)


def test_a_step_updates_look_and_inventory(begun: AgentState) -> None:
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
    with_current = state.with_subgoal(begun, "a")
    assert state.with_subgoal(with_current, "a") == with_current


def test_a_failed_step_keeps_the_subgoal(begun: AgentState) -> None:
    with_current = state.with_subgoal(begun, "a")
    after = state.after_step(with_current, "fly", "No known action matches that input.", HALLWAY, "an orange", 0)
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


# --- ended sub-goals -----------------------------------------------------------------------------------------


def ended_after_each(actions: int) -> AgentState:
    """So many actions, each of a sub-goal of its own that was ended."""
    fold = StateFold.start("task", HALLWAY, "")
    for number in range(actions):
        fold.give_subgoal(f"s{number}()")
        fold.act(f"wait {number}", f"answer {number}", HALLWAY, "", number)
        fold.end_subgoal()
    return fold.state


def test_an_ended_sub_goal_is_a_turn_without_an_action() -> None:
    state = ended_after_each(2)
    assert [turn.action for turn in state.turns] == ["wait 0", None, "wait 1", None]
    assert [turn.observation for turn in state.turns] == ["answer 0", "answer 0", "answer 1", "answer 1"]
    assert [turn.reward for turn in state.turns] == [0, 0, 1, 0]
    assert (state.step, state.ended_subgoals, state.subgoal_step) == (5, 2, None)


def test_nothing_ends_where_no_sub_goal_is_under_way() -> None:
    fold = StateFold.start("task", HALLWAY, "")
    fold.end_subgoal()
    assert fold.state.turns == ()
    ended = StateFold(ended_after_each(1))
    ended.end_subgoal()
    assert len(ended.state.turns) == 2


def test_history_is_cut_by_actions_and_keeps_ends() -> None:
    shown = state.recent(ended_after_each(5), 2)
    assert [turn.action for turn in shown.turns] == [None, "wait 3", None, "wait 4", None]
    assert (shown.step, shown.ended_subgoals) == (11, 5)
    assert state.recent(ended_after_each(5), 0).turns == ()


def test_a_state_never_carries_more_turns_than_a_request_may() -> None:
    turns = tuple(Turn(action=None, observation="") for _ in range(1_500))
    many = ended_after_each(1).model_copy(update={"turns": (*turns, *turns)})
    assert len(state.recent(many, 10).turns) == 1_000


def test_formats_that_read_actions_only_see_no_ended_subgoals() -> None:
    fold = StateFold(ended_after_each(3))
    fold.give_subgoal("next()")
    shown = state.actions_only(fold.state)
    assert [turn.action for turn in shown.turns] == ["wait 0", "wait 1", "wait 2"]
    assert (shown.step, shown.subgoal_step, shown.ended_subgoals) == (4, 4, 0)


@pytest.mark.parametrize("name", ["compact", "compact-nohistory", "transcript"])
@pytest.mark.parametrize("role", get_args(Role))
def test_prompts_of_actions_do_not_change_with_ended_sub_goals(name: str, role: Role) -> None:
    with_ends, without = StateFold.start("task", HALLWAY, ""), StateFold.start("task", HALLWAY, "")
    prompt_format = get_format(name)
    for number in range(60):
        for fold in (with_ends, without):
            fold.give_subgoal(f"move(thing {number % 7}, box)")
            fold.act(f"read book {number}", f"page {number}", HALLWAY, "", number)
        assert write_prompt(prompt_format, role, with_ends.state) == write_prompt(prompt_format, role, without.state)
        if number % 3 == 0:
            ended = with_ends.state.current_subgoal
            with_ends.end_subgoal()
            without = StateFold(without.state.model_copy(update={"subgoal_step": None}))
            assert with_ends.state.current_subgoal == ended
            visible = with_ends.visible(prompt_format.history_turns)
            assert write_prompt(prompt_format, role, visible) == write_prompt(prompt_format, role, without.state)


def test_a_state_of_an_older_client_is_read_as_before() -> None:
    turn = {"action": "wait", "observation": "o"}
    sent = {"task": "t", "look": "l", "step": 2, "turns": [turn], "visited_rooms": ["a"]}
    old = AgentState.model_validate_json(json.dumps(sent))
    assert (old.ended_subgoals, old.named_rooms) == (0, None)
    assert state.actions_only(old) is old
    assert "Visited rooms: a </s>" in write_prompt(get_format("seed"), "flat", old)
    assert "N/A |  <extra_id_9> WAIT() (+0) --> o" in write_prompt(get_format("seed"), "flat", old)


def test_ended_turns_that_a_client_did_not_count_are_counted() -> None:
    sent = AgentState(
        task="t", look="l", step=3, turns=(Turn(action="wait", observation=""), Turn(action=None, observation=""))
    )
    assert state.actions_only(sent).step == 2


# --- very long episodes ----------------------------------------------------------------------------------------


def wander(fold: StateFold, steps: int) -> None:
    """So many steps, each in a room of its own, for a sub-goal of its own, which ends."""
    for number in range(steps):
        fold.give_subgoal(f"s{number}()")
        look = f"This room is called the {chr(97 + number % 26) * (1 + number // 26)}. In it, you see: \n\tthe agent\n"
        fold.act(f"go {number}", f"answer {number}", look, "", 0)
        if number % 3 == 0:
            fold.end_subgoal()


def test_a_state_never_holds_more_than_a_request_may_carry() -> None:
    fold = StateFold.start("task", HALLWAY, "")
    wander(fold, MOST_SUBGOALS + 50)
    whole = fold.state
    sent = AgentState.model_validate_json(fold.visible(MOST_TURNS).model_dump_json())
    assert len(whole.visited_rooms) == len(sent.named_rooms or ()) == MOST_ROOMS
    assert whole.visited_rooms[0] == "hallway"
    assert len(whole.completed_subgoals) == MOST_SUBGOALS
    assert whole.completed_subgoals[-1] == f"s{MOST_SUBGOALS + 48}()"
    assert len(whole.turns) > MOST_TURNS == len(sent.turns)


def test_a_fold_that_forgets_shows_the_same() -> None:
    folds = [StateFold.start("task", HALLWAY, "", forgets=forgets) for forgets in (False, True)]
    for _ in range(4):
        for fold in folds:
            wander(fold, 450)
        for history in (0, 1, 10, 999, MOST_TURNS):
            assert folds[0].visible(history) == folds[1].visible(history)
    assert len(folds[1].state.turns) < 2 * MOST_TURNS < len(folds[0].state.turns)
