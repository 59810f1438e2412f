"""Which simplifications an evaluation may name, and what the simulator is given for them."""

from __future__ import annotations

import pytest

from waymark.contracts import EpisodeSpec, EvaluationRequest
from waymark.errors import InvalidInput
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.scienceworld.simplifications import LABELS, for_simulator
from waymark.worlds.scienceworld.tasks import find_task
from waymark.worlds.scripted.environment import ScriptedEnvironment

FIND, CONDUCT = find_task("4-2"), find_task("3-3")


@pytest.mark.parametrize("text", ["eazy", "easy,eazy", "teleport", "openDoors;teleportAction", "easy easy", "\x00"])
def test_an_unknown_label_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        episodes("e", EvaluationRequest(tasks=("4-2",), simplifications=text))
    assert caught.value.field == "simplifications"
    assert all(label in str(caught.value) for label in ("easy", *LABELS))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", ""),
        (" , ,", ""),
        ("easy", "easy"),
        ("easy,easy", "easy"),
        (" Easy ", "easy"),
        ("teleportAction", "teleportAction"),
        ("teleportAction, openDoors,teleportAction", "openDoors,teleportAction"),
        ("easy,openDoors", "noElectricalAction,openDoors,selfWateringFlowerPots,teleportAction"),
        (",".join(LABELS), ",".join(LABELS)),
        (f"easy,{','.join(LABELS)}", ",".join(LABELS)),
    ],
)
def test_the_simulator_is_given_each_label_once(text: str, labels: str) -> None:
    assert for_simulator(text, FIND) == labels


def test_easy_spares_electricity_where_a_task_needs_it() -> None:
    assert for_simulator("easy,openContainers", CONDUCT) == (
        "openContainers,openDoors,selfWateringFlowerPots,teleportAction"
    )


@pytest.mark.parametrize("tasks", [("3-3",), ("4-2", "3-1"), None])
def test_tasks_about_circuits_refuse_to_go_without_electricity(tasks: tuple[str, ...] | None) -> None:
    with pytest.raises(InvalidInput, match="noElectricalAction"):
        episodes("e", EvaluationRequest(tasks=tasks, simplifications="easy,noElectricalAction"))


def test_simplifications_are_recorded_as_requested() -> None:
    (spec,) = episodes("e", EvaluationRequest(tasks=("4-2",), variations=(0,), simplifications="openDoors, easy"))
    assert spec.options == "openDoors, easy"


@pytest.mark.parametrize(
    ("task", "variation", "simplifications"),
    [("4-2", 0, "eazy"), ("4-2", 300, "easy"), ("4-2", -1, ""), ("9-9", 0, "")],
)
def test_the_scripted_world_refuses_what_scienceworld_does(task: str, variation: int, simplifications: str) -> None:
    world = ScriptedEnvironment()
    for ask in (world.reset, world.gold_path):
        with pytest.raises(InvalidInput):
            ask(task, variation, simplifications)


def test_the_record_of_an_episode_keeps_the_old_name() -> None:
    (spec,) = episodes("e", EvaluationRequest(tasks=("4-2",), variations=(0,), options="openDoors"))
    record = spec.model_dump(mode="json")
    assert record["simplifications"] == "openDoors"
    assert EpisodeSpec.model_validate(record) == spec
