"""The format `compact-reasons`: the prompts of `compact-plain`, and answers that begin with their reason."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import Example, examples
from training.selection import verb_of
from training.worlds.scienceworld.augmentation import Renamer, is_answer
from waymark.agent import state as fold
from waymark.agent.prompt import write_target
from waymark.contracts import AgentState, Role
from waymark.loadtest.sample_states import sample
from waymark.worlds.base import decision_of
from waymark.worlds.scienceworld.prompts.compact import COMPACT, COMPACT_PLAIN, COMPACT_REASONS
from waymark.worlds.scienceworld.prompts.readings import READING, value_of

LOOK = "This room is called the workshop. In it, you see: \n\ta blue box\n\ta red box"
MEASURES = (
    "Your task is to measure the melting point of lead. If it is above -10.0 degrees celsius, focus on the blue box. "
    "If it is below -10.0 degrees celsius, focus on the red box."
)
CONDUCTS = (
    "Your task is to determine if fork is electrically conductive. If it is electrically conductive, place it in the "
    "blue box. If it is electrically nonconductive, place it in the red box."
)
CROSSES = "Find out. If the trait is dominant, focus on the blue box. If the trait is recessive, focus on the red box."
SLIDES = "Your task is to determine which of the two inclined planes (C, D) has the steepest angle."


def acted(task: str, *answers: tuple[str, str], look: str = LOOK) -> AgentState:
    """A state after some actions and their answers."""
    state = fold.start(task, look, "")
    for action, observation in answers:
        state = fold.after_step(state, action, observation, look, "", 3)
    return state


def measured(degrees: int) -> tuple[str, str]:
    return "use thermometer on lead", f"the thermometer measures a temperature of {degrees} degrees celsius"


@pytest.mark.parametrize(
    ("state", "decision", "written"),
    [
        (
            acted(MEASURES, measured(327)),
            "focus_on(blue box)",
            "above , focus on blue box : focus_on blue box",
        ),
        (
            acted(MEASURES, measured(-40)),
            "focus_on(red box)",
            "below , focus on red box : focus_on red box",
        ),
        (
            acted(MEASURES, measured(327)),  # another reading was meant
            "focus_on(red box)",
            "below , focus on red box : focus_on red box",
        ),
        (
            acted(CONDUCTS, ("connect a to b", "done"), look=f"{LOOK}\n\ta red light bulb, which is on"),
            "move(fork, blue box)",
            "on conductive , place it in blue box : move fork , blue box",
        ),
        (acted(CROSSES), "focus_on(red box)", "recessive , focus on red box : focus_on red box"),
        (
            acted(
                SLIDES,
                ("look at inclined plane c", "a steel block (approximately 5% down the plane)"),
                ("look at inclined plane d", "a steel block (approximately 31% down the plane)"),
            ),
            "focus_on(inclined plane d)",
            "below : focus_on inclined plane d",
        ),
        (acted(MEASURES), "pick_up(thermometer)", "pick_up thermometer"),
        (
            acted("Your task is to find an animal. Move it to the red box."),
            "move(dove, red box)",
            "move dove , red box",
        ),
    ],
)
def test_an_answer_begins_with_its_reason(state: AgentState, decision: str, written: str) -> None:
    assert write_target(COMPACT_REASONS, "controller", state, decision) == written
    assert COMPACT_REASONS.parse("controller", written) == decision


def test_flat_answers_have_reasons_and_executors_none() -> None:
    state = acted(MEASURES, measured(327))
    flat = write_target(COMPACT_REASONS, "flat", state, "focus on blue box")
    assert flat.endswith(" , focus on blue box : focus on blue box")
    assert COMPACT_REASONS.parse("flat", flat) == "focus on blue box"
    assert write_target(COMPACT_REASONS, "executor", state, "focus on blue box") == "focus on blue box"
    assert write_target(COMPACT, "controller", state, "focus_on(blue box)") == "focus_on blue box"


def test_prompts_are_those_without_aids() -> None:
    for recorded in sample()[::7]:
        for role in get_args(Role):
            assert COMPACT_REASONS.render(role, recorded.state) == COMPACT_PLAIN.render(role, recorded.state)


def oracle_answers() -> list[Example]:
    chosen = [path for path in one_of_each_task() if path.task_id in ("2-1", "2-2", "2-3", "3-3", "3-4", "9-1", "9-2")]
    made = examples(chosen, rule_annotations(chosen), "controller", COMPACT_REASONS)
    return [example for example in made if " : " in example.target]


def test_training_reads_the_decision_in_a_target_with_reasons() -> None:
    answers = oracle_answers()
    assert len({answer.task_id for answer in answers}) == 7
    assert all(map(is_answer, answers))
    assert {verb_of(answer.target) for answer in answers} == {"focus_on", "move"}


def test_renaming_keeps_a_reason_true() -> None:
    answers = oracle_answers()
    rename = Renamer(answers, share=1.0, seed=0)
    for example in answers * 20:
        prompt, target = rename(example).written("controller", COMPACT_REASONS)
        reason, _, decision = target.rpartition(" : ")
        assert decision_of(target) == decision
        shown = set(prompt.replace(" , ", " ").split()) | {"on", "off", "above", "below"}
        assert set(reason.replace(" , ", " ").split()) <= shown
        instruction, *lines = prompt.split(" | ")
        (read,) = [line for line in lines if line.startswith("read ")] or [""]
        values = [value_of(reading) for reading in READING.finditer(read)]
        relation = reason.split(" ", 1)[0]
        if example.task_id.startswith("9-"):
            assert values
            assert (values[0] > values[1]) == (relation == "above")
        if example.task_id in ("2-1", "2-2", "2-3"):
            clause = next(clause for clause in instruction.split(" if ")[1:] if f" {relation} " in clause)
            limit = READING.search(clause)
            assert limit
            assert reason.removeprefix(f"{relation} , ") in clause
            assert any((value > value_of(limit)) == (relation == "above") for value in values)
