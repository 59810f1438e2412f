"""What a large model is shown, how its answers are read, and how they are aligned with a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import one_of_each_task
from training.annotations import annotate_by_rule
from training.llm import prompts
from training.llm.alignment import Alignment
from training.llm.prompts import Named
from training.worlds.scienceworld.annotation_prompts import BOIL_WATER, MEANINGS, PROMPTS
from waymark.worlds.base import COMPLETE, Segment
from waymark.worlds.registry import get_world
from waymark.worlds.scienceworld.actions import GRAMMAR, parse

ACTIONS = get_world("scienceworld").grammar


def pairs(named: list[Named]) -> list[tuple[str, tuple[str, ...]]]:
    return [(subgoal.subgoal, subgoal.actions) for subgoal in named]


def test_every_action_template_is_explained() -> None:
    assert MEANINGS.keys() == {(row.verb, row.arity) for row in GRAMMAR}
    system = prompts.opening(PROMPTS)[0]["content"]
    assert "- connect OBJ to OBJ: " in system
    assert all(parse(action) for named in BOIL_WATER.named for action in named.actions)


def test_the_worked_example_is_a_turn_in_the_published_form() -> None:
    _, asked, answered = prompts.opening(PROMPTS)
    assert asked["content"].endswith("'use thermometer on substance in metal pot'}")
    assert answered["content"].startswith("1- navigate_to(kitchen): {'open door to kitchen', 'go to kitchen'}\n2- ")


def test_an_answer_reads_back_as_it_was_written() -> None:
    assert prompts.read(prompts.written(BOIL_WATER.named)) == list(BOIL_WATER.named)


@pytest.mark.parametrize(
    "text",
    [
        "1- fill(metal pot, water): {'activate sink', 'wait1'} 2- wait(1): {'wait'}",
        "Sure!\n1. **fill(metal pot,water)**: ['activate sink', \"wait1\"]\n2) `wait(1)` : {wait}\nDone.",
        "<think>1- a(x): {'task'}</think>1- fill('metal pot', 'water'): {‘activate sink’,\n ‘wait1’}\nwait(1):{'wait'}",
        "1- fill(metal pot, water): {'activate sink', 'wait1'}\n2- wait(1): {'wait'}\n3- complete_task(): {'task'}",
        "1- fill(metal pot, water): {'activate sink', 'wait1'}\n2- wait(1): {'wait",
    ],
)
def test_answers_are_read_whatever_stands_around_them(text: str) -> None:
    expected = [("fill(metal pot, water)", ("activate sink", "wait1")), ("wait(1)", ("wait",))]
    assert pairs(prompts.read(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "I cannot help with that.", "fill(pot)", "{'wait'}", "<think>1- wait(1): {'wait'}"]
)
def test_what_is_no_answer_holds_no_subgoals(text: str) -> None:
    assert prompts.read(text) == []


PATH = ["teleport to kitchen", "open cupboard", "pick up metal pot", "wait1", "wait1", "focus on water"]


def aligned(*answers: str) -> tuple[list[tuple[str, int]], list[range], int]:
    """Sub-goals with how many actions each has, what is missing, and how many extra actions there were."""
    alignment = Alignment(PATH, ACTIONS)
    for answer in answers:
        alignment.take(prompts.read(answer))
    segments = [] if alignment.missing() else alignment.segments()[:-1]
    return (
        [(segment.subgoal, segment.stop - segment.start) for segment in segments],
        alignment.missing(),
        alignment.extra,
    )


def test_an_answer_that_names_every_action_is_aligned_as_written() -> None:
    segments, missing, extra = aligned("a(): {teleport to kitchen} b(): {open cupboard, pick up metal pot} "
                                       "c(): {wait1, wait1} d(): {focus on water}")  # fmt: skip
    assert segments == [("a()", 1), ("b()", 2), ("c()", 2), ("d()", 1)]
    assert (missing, extra) == ([], 0)


def test_extra_actions_and_subgoals_of_only_these_are_dropped() -> None:
    segments, _, extra = aligned("a(): {teleport to kitchen, look around} x(): {eat apple} b(): {open cupboard, "
                                 "pick up metal pot} c(): {wait1, wait1, wait1} d(): {focus on water}")  # fmt: skip
    assert segments == [("a()", 1), ("b()", 2), ("c()", 2), ("d()", 1)]
    assert extra == 3


def test_a_single_missing_action_joins_the_subgoal_before_it() -> None:
    segments, _, _ = aligned(
        "a(): {teleport to kitchen} b(): {pick up metal pot} c(): {wait1, wait1} d(): {focus on water}"
    )
    assert segments == [("a()", 2), ("b()", 1), ("c()", 2), ("d()", 1)]


def test_a_missing_first_action_joins_the_subgoal_after_it() -> None:
    segments, _, _ = aligned("b(): {open cupboard, pick up metal pot} c(): {wait1, wait1} d(): {focus on water}")
    assert segments == [("b()", 3), ("c()", 2), ("d()", 1)]


def test_the_model_names_a_run_of_missing_actions() -> None:
    first = "a(): {teleport to kitchen} d(): {wait1, wait1, focus on water}"
    assert aligned(first)[1] == [range(1, 3)]
    segments, missing, _ = aligned(first, "b(): {open cupboard} b(): {pick up metal pot}")
    assert segments == [("a()", 1), ("b()", 1), ("b()", 1), ("d()", 3)]
    assert missing == []


def test_a_wholly_missing_path_is_one_run() -> None:
    alignment = Alignment(["focus on water"], ACTIONS)
    alignment.take([])
    assert alignment.missing() == [range(1)]


@pytest.mark.parametrize("spelling", ["pick up pot", "Pick up  the metal pot", "take metal pot", "get pot"])
def test_an_action_said_in_other_words_keeps_its_place(spelling: str) -> None:
    segments, _, extra = aligned(
        f"a(): {{teleport to kitchen, open cupboard}} b(): {{{spelling}}} c(): {{wait1, wait1}} d(): {{focus on water}}"
    )
    assert segments == [("a()", 2), ("b()", 1), ("c()", 2), ("d()", 1)]
    assert extra == 0


def test_the_rule_annotators_subgoals_come_through_an_answer_unchanged() -> None:
    for trajectory in one_of_each_task():
        actions = [step.action for step in trajectory.steps]
        segments = annotate_by_rule(trajectory).segments
        answer = [
            Named(subgoal=segment.subgoal, actions=tuple(actions[segment.start : segment.stop])) for segment in segments
        ]
        alignment = Alignment(actions, ACTIONS)
        alignment.take(prompts.read(prompts.written(answer)))
        assert alignment.segments() == segments


def test_a_single_omission_leaves_the_models_run_whole() -> None:
    alignment = Alignment(["wait", "look around", "look around", "wait", "wait", "look around"], ACTIONS)
    alignment.take([Named(subgoal="a()", actions=("look around", "wait"))])
    assert alignment.missing() == [range(4, 6)]
    alignment.take([Named(subgoal="b()", actions=("wait", "look around"))])
    assert alignment.missing() == []


@given(st.data())
def test_every_path_is_covered_once_its_runs_are_named(data: st.DataObject) -> None:
    path = data.draw(st.lists(st.sampled_from([*PATH, "wait", "eat apple"]), min_size=1, max_size=12))
    answered = data.draw(st.lists(st.sampled_from([*PATH, "nonsense", "go north"]), max_size=12))
    alignment = Alignment(path, ACTIONS)
    alignment.take([Named(subgoal=f"s{index}()", actions=(action,)) for index, action in enumerate(answered)])
    missing = tuple(path[index] for run in alignment.missing() for index in run)
    alignment.take([Named(subgoal="rest()", actions=missing)])
    segments = alignment.segments()
    assert alignment.missing() == []
    assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
    assert segments[-1] == Segment(COMPLETE, len(path), len(path))
    assert all(segment.stop > segment.start for segment in segments[:-1])
