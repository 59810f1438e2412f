"""The rule annotator: covers every path, is deterministic, and names what people would name."""

from __future__ import annotations

import pytest

from tests.oracle import TABLE, one_of_each_task, trajectories
from training.annotations import Annotation, annotate_by_rule, read_annotations
from waymark.agent.state import after_step, after_subgoal_ended, start, with_subgoal
from waymark.contracts import AgentState
from waymark.worlds.base import COMPLETE, PathStep, Segment
from waymark.worlds.scienceworld.annotator import annotate
from waymark.worlds.scienceworld.subgoal_end import is_over, most_actions
from waymark.worlds.scienceworld.subgoals_in_sight import in_sight


def segments(task: str, *actions: str) -> list[tuple[str, int]]:
    """Sub-goals and how many actions each takes, `complete_task()` left out."""
    pieces = annotate(task, [PathStep(action, "") for action in actions])
    assert pieces[-1] == Segment(COMPLETE, len(actions), len(actions))
    return [(segment.subgoal, segment.stop - segment.start) for segment in pieces[:-1]]


def test_every_tracked_path_is_covered_without_gaps() -> None:
    for trajectory in trajectories():
        pieces = annotate_by_rule(trajectory).segments
        assert [segment.start for segment in pieces] == [0, *(segment.stop for segment in pieces[:-1])]
        assert pieces[-1].stop == len(trajectory.steps)
        assert all(segment.stop > segment.start for segment in pieces[:-1])


def test_all_task_types_are_annotated_in_functional_style() -> None:
    paths = one_of_each_task()
    assert len(paths) == 30
    for trajectory in paths:
        for segment in annotate_by_rule(trajectory).segments:
            verb, _, rest = segment.subgoal.partition("(")
            assert verb.isidentifier(), segment
            assert rest.endswith(")"), segment


def test_tracked_annotations_equal_the_annotators_output() -> None:
    tracked = read_annotations(TABLE.with_name("annotations.parquet"))
    fresh: list[Annotation] = [annotate_by_rule(trajectory) for trajectory in trajectories()]
    assert list(tracked.values()) == fresh


def test_a_detour_is_a_segment_of_its_own() -> None:
    steps = [
        PathStep("teleport to hallway", "", perturbation=True),
        PathStep("teleport to kitchen", ""),
        PathStep("wait1", "", perturbation=True),
    ]
    pieces = [(segment.subgoal, segment.stop - segment.start) for segment in annotate("Boil tin.", steps)]
    assert pieces == [("navigate_to(hallway)", 1), ("navigate_to(kitchen)", 1), ("wait1(5)", 1), (COMPLETE, 0)]


def test_the_next_stage_of_an_animal_is_left_open() -> None:
    steps = [PathStep(action, "") for action in ("focus on frog egg", "wait1", "wait1", "focus on tadpole")]
    animal, plant = ("Focus on the 3 life stages of the frog.", "Focus on the life stages of the fern plant.")
    assert annotate(animal, steps)[1].subgoal == "wait_for_change(frog egg)"
    assert annotate(plant, steps)[1].subgoal == "wait_for(tadpole)"


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["open door to hallway", "go to hallway", "go to kitchen"], [("navigate_to(kitchen)", 3)]),
        (
            ["teleport to workshop", "teleport to art studio"],
            [("navigate_to(workshop)", 1), ("navigate_to(art studio)", 1)],
        ),
        (
            ["move metal pot to sink", "activate sink", "deactivate sink", "pick up metal pot"],
            [("fill(metal pot, water)", 4)],
        ),
        (["move metal pot to stove", "activate stove"], [("heat(metal pot, stove)", 2)]),
        (["open freezer", "move metal pot to freezer"], [("cool(metal pot, freezer)", 2)]),
        (["wait1", "wait1", "wait1", "focus on red box"], [("wait1(3)", 3), ("focus_on(red box)", 1)]),
        (["wait1", "wait1", "pick up pot"], [("wait_for_change(pot)", 2), ("pick_up(pot)", 1)]),
        (["wait1", "wait1", "open oven"], [("wait1(2)", 2), ("open(oven)", 1)]),
        (["wait1"] * 7, [("wait1(5)", 5), ("wait1(5)", 2)]),
        (["move metal pot to blast furnace", "wait1"], [("heat(metal pot, blast furnace)", 1), ("wait1(5)", 1)]),
        (["use thermometer on tin"], [("measure_temperature(tin)", 1)]),
        (["examine tin", "use thermometer on tin", "examine tin"], [("monitor_temperature(tin, boil)", 3)]),
        (
            ["connect battery anode to red wire terminal 1", "connect red wire terminal 2 to anode in motor"],
            [("build_circuit(battery, motor)", 2)],
        ),
        (
            [
                "connect battery anode to red wire terminal 1",
                "connect red wire terminal 2 to cathode in red light bulb",
                "connect blue wire terminal 1 to anode in red light bulb",
                "connect blue wire terminal 2 to fork terminal 1",
                "connect grey wire terminal 1 to fork terminal 2",
                "connect grey wire terminal 2 to battery cathode",
            ],
            [("build_circuit(battery, red light bulb, fork)", 6)],
        ),
        (["pour cup containing red paint in jug"], [("pour(cup containing red paint, jug)", 1)]),
        (
            ["activate sink", "move jug to sink", "pour jug into flower pot 1", "deactivate sink"],
            [("water(flower pot 1)", 4)],
        ),
        (["open oven", "open fridge", "open drawer"], [("open_everything()", 3)]),
    ],
)
def test_runs_of_actions_are_named_by_their_purpose(actions: list[str], expected: list[tuple[str, int]]) -> None:
    assert segments("Your task is to boil tin.", *actions) == expected


def test_a_subgoal_is_in_sight_when_its_things_are() -> None:
    state = AgentState(task="Your task is to boil lead.", look="You see: a metal pot, lead", inventory="an orange")
    for subgoal in ("focus_on(lead)", "navigate_to(foundry)", "wait_for(ash)", "monitor_temperature(lead, boil)"):
        assert in_sight([subgoal], state)
    elsewhere = state.model_copy(update={"look": "You see: a table"})
    for subgoal in ("focus_on(lead)", "pick_up(metal pot)"):
        assert not in_sight([subgoal], elsewhere)
    assert in_sight(["pick_up(orange)"], elsewhere)


def test_a_thing_is_in_sight_under_its_listed_name() -> None:
    trees = "a flower pot 7 (containing an apple tree in the adult stage, soil), a cherry tree"
    look = f"You see: a frog egg, a baby elephant, {trees}"
    state = AgentState(task="Your task is to look.", look=look, inventory="a book (Origin (1859)), a stove")
    seen = (
        *("focus_on(frog egg)", "focus_on(apple tree in the adult stage)", "pick_up(book (Origin (1859)))"),
        *("focus_on(apple tree in the adult stage in flower pot 7)", "pick_up(flower pot 7 containing soil)"),
        *("pick_up(baby elephant in inventory)", "move(frog egg, flower pot 7)", "heat(frog egg, stove)"),
    )
    unseen = (
        *("focus_on(baby frog)", "focus_on(frog)s", "pick_up(flower pot 3)", "look_at(flower pot 3)"),
        *("focus_on(apple tree in the adult stage in flower pot 3)", "focus_on(pea in flower pot 7)"),
        *("focus_on(cherry)", "move(baby frog, flower pot 7)", "pour(frog frog, flower pot 7)"),
    )
    assert in_sight([*seen, *unseen], state) == list(seen)


def test_products_of_a_recipe_are_not_in_sight() -> None:
    carried = "a recipe titled instructions to make jam\nan orange"
    state = AgentState(task="Your task is to make jam.", look="You see: a cup", inventory=carried)
    assert in_sight(["focus_on(jam)", "focus_on(orange)", "read(recipe)"], state) == [
        "focus_on(orange)",
        "read(recipe)",
    ]


@pytest.mark.parametrize(
    ("subgoal", "most"),
    [("wait1(3)", 3), ("wait(10)", 10), ("monitor_temperature(lead, boil)", 64), ("open(door)", 12)],
)
def test_subgoals_may_last_little_longer_than_oracles_took(subgoal: str, most: int) -> None:
    assert most_actions(subgoal) == most


@pytest.mark.parametrize(
    ("subgoal", "read", "over"),
    [
        ("monitor_temperature(tin, melt)", "tin", False),
        ("monitor_temperature(tin, melt)", "liquid tin", True),
        ("monitor_temperature(tin, melt)", "liquid lead", False),
        ("monitor_temperature(solid unknown substance b, melt)", "liquid unknown substance b", True),
        ("measure_temperature(tin)", "liquid tin", False),
    ],
)
def test_watching_a_temperature_ends_after_the_awaited_reading(subgoal: str, read: str, over: bool) -> None:
    state = with_subgoal(start(task="Melt it.", look="a stove", inventory=""), subgoal)
    assert not is_over(state)
    state = after_step(state, f"use thermometer on {read}", "35 degrees", "a stove", "", 0)
    assert is_over(state) == over
    assert not is_over(after_subgoal_ended(state))
