"""Formats without history: known to serving by name, and blind to what was done and answered before."""

from __future__ import annotations

from typing import get_args

import pytest

from waymark.agent import state as fold
from waymark.agent.state import recent
from waymark.contracts import AgentState, Role
from waymark.worlds.registry import get_format

LOOK = "This room is called the kitchen. In it, you see: \n\ta stove\n"


def after(action: str, observation: str) -> AgentState:
    state = fold.with_subgoal(fold.start("Your task is to boil water.", LOOK, ""), "find(stove)")
    return fold.after_step(state, action, observation, LOOK, "", 3)


@pytest.mark.parametrize("name", ["seed", "compact"])
@pytest.mark.parametrize("role", get_args(Role))
def test_neither_an_earlier_action_nor_its_answer_is_shown(role: Role, name: str) -> None:
    blind = get_format(f"{name}-nohistory")
    waited, opened = after("wait1", "You wait."), after("open drawer", "The drawer is now open.")
    assert blind.render(role, waited) == blind.render(role, opened)
    if role != "first":
        assert get_format(name).render(role, waited) != get_format(name).render(role, opened)


@pytest.mark.parametrize("name", ["seed", "compact"])
def test_no_turn_need_be_sent_for_the_whole_prompt(name: str) -> None:
    blind = get_format(f"{name}-nohistory")
    state = after("wait1", "You wait.")
    assert blind.history_turns == 0
    assert blind.render("flat", recent(state, blind.history_turns)) == blind.render("flat", state)


def test_rooms_score_and_subgoals_stay() -> None:
    prompt = get_format("seed-nohistory").render("executor", after("wait1", "You wait."))
    assert "Time: 2; Score: 3;" in prompt
    assert "current subtask is find(stove)" in prompt
    assert "Visited rooms: kitchen" in prompt


@pytest.mark.parametrize("name", ["seed", "compact"])
def test_a_variant_is_named_after_its_format_and_decides_alike(name: str) -> None:
    blind, sighted = get_format(f"{name}-nohistory"), get_format(name)
    assert blind.name == f"{name}-nohistory"
    decisions: list[tuple[Role, str | None]] = [
        ("controller", "find(stove)"),
        ("flat", "look around"),
        ("executor", None),
    ]
    for role, decision in decisions:
        text = sighted.target(role, decision)
        assert blind.target(role, decision) == text
        assert blind.parse(role, text) == decision
