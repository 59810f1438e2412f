import math

import pytest

from waymark.agent.state import after_step, start
from waymark.contracts import AgentState
from waymark.worlds.scienceworld.rules.risk import is_confident_enough

CHOICE = "If tin conducts, put it in the blue box. If not, put it in the red box."


def state(score: int, task: str = CHOICE) -> AgentState:
    return AgentState(task=task, look="You see: tin", inventory="", score=score)


@pytest.mark.parametrize(
    ("decision", "probability", "score", "worth"),
    [
        ("focus_on(red box)", 0.6, 50, True),
        ("focus_on(red box)", 0.6, 92, False),
        ("focus on red box", 0.6, 92, False),
        ("move(tin, blue box)", 0.4, 85, False),
        ("move tin to blue box", 0.4, 85, False),
        ("move(tin, metal pot)", 0.1, 85, True),
        ("pick up tin", 0.1, 85, True),
        ("focus_on(wolf)", 1e-9, 0, True),
    ],
)
def test_a_final_answer_must_be_likely_enough_for_the_score(
    decision: str, probability: float, score: int, worth: bool
) -> None:
    assert is_confident_enough(decision, math.log(probability), state(score)) is worth


def test_no_box_is_chosen_before_its_temperature_was_read() -> None:
    task = "If tin melts above 10.0 degrees celsius, focus on the blue box. If below, focus on the red box."
    unread = start(task, "You see: tin", "")
    read = after_step(unread, "use thermometer on tin", "12 degrees", "You see: tin", "", 0)
    assert [is_confident_enough("focus_on(red box)", 0.0, state) for state in (unread, read)] == [False, True]
    assert is_confident_enough("focus_on(tin)", 0.0, unread)


def test_a_single_box_is_no_choice() -> None:
    only = "Your task is to find a plant and move it to the red box."
    assert is_confident_enough("move(flower pot 1, red box)", math.log(0.5), state(75, only))
