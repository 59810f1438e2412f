"""The transcript format: whole prompts spelled out, and a beginning that stays from step to step."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.oracle import rule_annotations, trajectories
from training.datasets import decisions
from waymark.agent import state as fold
from waymark.agent.state import recent
from waymark.contracts import AgentState, Role
from waymark.worlds.registry import get_format

TRANSCRIPT = get_format("transcript")
LOOK = "This room is called the kitchen. In it, you see: \n\ta stove, which is turned off. On the stove is: nothing.\n"
INVENTORY = "In your inventory, you see:\n\ta thermometer, currently reading a temperature of 10 degrees celsius\n"
LIMIT = 512
"""Tokens that the models read; words of a prompt must leave some for names of several pieces."""


def midway() -> AgentState:
    state = fold.start("Your task is to boil water.", LOOK, INVENTORY)
    state = fold.with_subgoal(state, "navigate_to(kitchen)")
    state = fold.after_step(state, "teleport to kitchen", "You teleport to the kitchen.", LOOK, INVENTORY, 3)
    state = fold.after_step(state, "look around", LOOK, LOOK, INVENTORY, 3)
    state = fold.with_subgoal(state, "move(tin cup, stove)")
    return fold.after_step(state, "use thermometer on stove", "It measures 85 degrees celsius", LOOK, INVENTORY, 3)


RECORD = (
    "boil water | teleport to kitchen : you teleport to kitchen | look around : | "
    "use thermometer on stove : it measures 0 0 8 5 degrees"
)
SCENE = "room kitchen : stove off | have thermometer 10"


def test_the_executor_reads_record_scene_and_subgoal() -> None:
    assert TRANSCRIPT.render("executor", midway()) == (
        f"{RECORD} | did use thermometer on stove | {SCENE} | move tin cup , stove"
    )


def test_the_controller_reads_record_scene_and_earlier_subgoals() -> None:
    reading = "read use thermometer on stove : 0 0 8 5 degrees"
    flat = f"{RECORD} | seen kitchen | {reading} | {SCENE} | score 3"
    assert TRANSCRIPT.render("flat", midway()) == flat
    assert TRANSCRIPT.render("controller", midway()) == f"{flat} | gave navigate_to kitchen ; move tin cup , stove"


def beginning(prompt: str) -> list[str]:
    """What stands before the ending: the task and the turns."""
    return re.split(r" \| (?:did|seen|room) ", prompt)[0].split(" | ")


@pytest.mark.parametrize("role", ["controller", "executor", "flat"])
def test_the_prompts_beginning_only_grows_during_play(role: Role) -> None:
    recorded = [path for path in trajectories() if path.split == "dev" and len(path.steps) > 20]
    named = rule_annotations(recorded)
    lasted: list[int] = []
    for trajectory in recorded:
        states = [decision.state for decision in decisions(trajectory, named[trajectory.key], role)]
        since = states[0].step
        for before, after in pairwise(states):
            earlier, later = beginning(TRANSCRIPT.render(role, before)), beginning(TRANSCRIPT.render(role, after))
            if later[: len(earlier)] != earlier:
                lasted.append(after.step - since)
                since = after.step
    assert len(lasted) > 10
    assert sum(lasted) / len(lasted) > 7  # long turns that follow short ones, or a crowded room, cost some sooner


@pytest.mark.parametrize("role", ["controller", "executor", "flat"])
def test_recorded_prompts_leave_tokens_for_names_of_several_pieces(role: Role) -> None:
    recorded = [path for path in trajectories() if path.split == "dev"]
    named = rule_annotations(recorded)
    prompts = [
        TRANSCRIPT.render(role, decision.state)
        for trajectory in recorded
        for decision in decisions(trajectory, named[trajectory.key], role)
    ]
    assert max(len(prompt.split()) for prompt in prompts) < 0.95 * LIMIT


def many(turns: int) -> AgentState:
    state = midway()
    for number in range(turns):
        state = fold.after_step(state, f"open drawer {number}", f"Drawer {number} is open.", LOOK, INVENTORY, 3)
    return state


@pytest.mark.parametrize("turns", range(36, 45))
def test_turns_that_need_not_be_sent_change_nothing(turns: int) -> None:
    state = many(turns)
    assert TRANSCRIPT.render("flat", recent(state, TRANSCRIPT.history_turns)) == TRANSCRIPT.render("flat", state)


def test_a_crowded_room_never_cuts_the_subgoal_off() -> None:
    crowd = "".join(f"\ta jar number {number}\n" for number in range(400))
    state = fold.after_step(many(30), "wait1", "You wait.", LOOK + crowd, INVENTORY, 3)
    prompt = TRANSCRIPT.render("executor", state)
    assert prompt.endswith(" | move tin cup , stove")
    assert len(prompt.split()) < LIMIT
