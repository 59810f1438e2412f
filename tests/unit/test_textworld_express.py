"""TextWorldExpress: its annotator, its prompts and the names of its training takes."""

from __future__ import annotations

import pytest

from training.trajectories import RecordedStep, Trajectory
from training.worlds.textworld_express.renaming import renamed, words_of
from waymark.agent.state import StateFold
from waymark.contracts import EvaluationRequest
from waymark.errors import InvalidInput
from waymark.evaluation.requested_episodes import episodes
from waymark.worlds.base import PathStep
from waymark.worlds.registry import agent_world, get_format, get_world
from waymark.worlds.textworld_express.annotator import annotate
from waymark.worlds.textworld_express.options import check_options
from waymark.worlds.textworld_express.tasks import find_task

FORM = get_format("textworld-plain")
LOOK = (
    "You are in the kitchen. In one part of the room you see a fridge that is closed. You also see a counter that has "
    "47g of brick, and an apple on it. There is also a box, that is empty. \nTo the North you see a closed plain door. "
)


def subgoals(*actions: str, task: str = "Search the environment.") -> list[tuple[str, int, int]]:
    segments = annotate(task, [PathStep(action, "") for action in actions])
    return [(segment.subgoal, segment.start, segment.stop) for segment in segments[:-1]]


def test_opening_a_door_belongs_to_going_through_it() -> None:
    assert subgoals("open door to west", "open door to north", "move north", "take coin") == [
        ("open_door(west)", 0, 1),
        ("go(north)", 1, 3),
        ("take(coin)", 3, 4),
    ]


def test_opening_a_container_belongs_to_filling_it() -> None:
    assert subgoals("open fridge", "open wardrobe", "put hat in wardrobe") == [
        ("open(fridge)", 0, 1),
        ("put(hat, wardrobe)", 1, 3),
    ]


def test_taking_a_thing_belongs_to_its_next_use() -> None:
    path = ("take math problem", "read math problem", "take hat", "open wardrobe", "put hat in wardrobe", "take coin")
    assert subgoals(*path, "move north") == [
        ("read(math problem)", 0, 2),
        ("put(hat, wardrobe)", 2, 5),
        ("take(coin)", 5, 6),
        ("go(north)", 6, 7),
    ]


def test_simon_names_the_purpose_of_each_action() -> None:
    named = subgoals("open fridge", "sit down", "wiggle the quux", task="Do exactly what Simon says.")
    assert [subgoal for subgoal, *_ in named] == ["open(fridge)", "sit_down()", "wiggle_the_quux()"]


def test_looks_lose_only_separators() -> None:
    fold = StateFold.start("Take the brick.", LOOK, "Inventory: \n  a map\n", agent_world("textworld-express"))
    assert FORM.render("flat", fold.state) == (
        "task take brick . | did | see kitchen . fridge is closed . counter has 47 g of brick , and apple . box is "
        "empty . to north closed plain door . | carry map | score 0"
    )


def test_texts_that_were_read_stay_in_the_prompt() -> None:
    fold = StateFold.start("Cook.", LOOK, "", agent_world("textworld-express"))
    fold.act("read cookbook", "Ingredients:\n  olive oil\n  salt\n", LOOK, "", 0)
    street = "You are in the street. To the South you see the kitchen."
    fold.act("move north", street, street, "", 0)
    assert "| read ingredients : olive oil , salt | did read cookbook ; move north : street | see street ." in (
        FORM.render("flat", fold.state)
    )


@pytest.mark.parametrize("subgoal", ["put(31 bananas, box)", "take(47g of brick)", "sit_down()", "complete_task()"])
def test_subgoals_come_back_from_text(subgoal: str) -> None:
    assert FORM.parse("controller", FORM.target("controller", subgoal)) == subgoal


def test_a_renamed_take_renames_things_consistently_and_keeps_rooms() -> None:
    step = RecordedStep("take apple", "You take the apple.", LOOK, "Inventory: \n  an apple\n", 100, 1, [])
    path = Trajectory("twc", 0, "train", "", "shortened", 1, "Take the apple.", LOOK, "", [step])
    assert words_of(path) == ["apple"]
    takes = [copy for copy in (renamed(path, take) for take in range(1, 20)) if copy is not None]
    assert takes
    for take in takes:
        name = take.steps[0].action.removeprefix("take ")
        assert name != "apple"
        assert take.task == f"Take the {name}."
        assert take.steps[0].observation == f"You take the {name}."
        assert take.look == LOOK.replace("apple", name)
    assert renamed(path, 1) == renamed(path, 1)


@pytest.mark.parametrize(
    ("game", "options", "says"),
    [
        ("coin", "numLocations=0", "from 1 to 11; got 0"),
        ("coin", "numLocations=12", "from 1 to 11; got 12"),
        ("coin", "includeDoors=2", "from 0 to 1; got 2"),
        ("twc", "numItemsToPutAway=0", "from 1 to 4; got 0"),
        ("simonsays", "gameLength=1001", "from 1 to 1000; got 1001"),
        ("mapreader", "numLocations=49", "from 2 to 48; got 49"),
        ("mapreader", "numLocations=4", "4 moves apart (maxDistanceApart) in 4 places"),
        ("mapreader", "numLocations=8,maxDistanceApart=8", "8 moves apart (maxDistanceApart) in 8 places"),
        ("coin", "numLocations=3, numLocations=3", "'numLocations' is given twice"),
        ("arithmetic", "numLocations=3", "has no option 'numLocations'"),
    ],
)
def test_options_that_no_game_can_be_made_of_are_refused(game: str, options: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_options(options, [find_task(game)])
    assert says in refused.value.message
    assert refused.value.field == "options"
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("game", "options"), [("coin", " numLocations=11, includeDoors=0,"), ("mapreader", "numLocations=5"), ("coin", "")]
)
def test_options_of_a_game_are_taken(game: str, options: str) -> None:
    check_options(options, [find_task(game)])


@pytest.mark.parametrize("field", ["options", "simplifications"])
def test_an_evaluation_with_such_options_is_refused_before_it_is_planned(field: str) -> None:
    request = EvaluationRequest.model_validate({"tasks": ("coin",), field: "numLocations=12"})
    with pytest.raises(InvalidInput, match="got 12") as refused:
        episodes("", request, get_world("textworld-express"))
    assert refused.value.field == field
