import pytest

from waymark.worlds.scienceworld.rules.action_matching import SHORTLIST, shortlist

VALID = [
    "focus on baby wolf",
    "focus on door",
    "look at baby wolf",
    "look at door",
    "move metal pot to stove",
    "move metal pot to sink",
    "open door to kitchen",
    "pick up metal pot",
    "pick up thermometer",
    "wait1",
]


def test_the_shortlist_keeps_the_verb_and_ranks_shared_words_first() -> None:
    assert shortlist("move metal pott to stove", VALID) == ["move metal pot to stove", "move metal pot to sink"]


def test_the_same_with_something_else_is_another_intention() -> None:
    assert shortlist("pick up paper clip", VALID) == []
    assert shortlist("pick up pot", VALID) == ["pick up metal pot"]


def test_an_instrument_is_only_used_on_the_same_thing() -> None:
    valid = ["use thermometer on chair", "use thermometer on liquid tin", "use thermometer on tin cup"]
    assert set(shortlist("use thermometer on tin", valid)) == set(valid[1:])
    assert shortlist("use thermometer on lead", valid) == []


@pytest.mark.parametrize(
    ("proposed", "offered", "same"),
    [
        ("wolf", "baby wolf", True),
        ("ice", "ice cream", True),
        ("cherry tree", "cherry tree in flower pot 3", True),
        ("turtle egg", "egg turtle", True),
        ("grey wolf", "baby wolf", False),
        ("jam sandwich", "jam", False),
        ("smores", "instructions to make smores", False),
        ("cherry", "cherry tree in flower pot 3", False),
    ],
)
def test_a_focus_is_repaired_only_to_the_same_thing(proposed: str, offered: str, same: bool) -> None:
    proposal, action = f"focus on {proposed}", f"focus on {offered}"
    assert shortlist(proposal, [action]) == [action] * same


def test_the_shortlist_is_short_and_holds_nothing_unlike_the_proposal() -> None:
    crowd = [f"pick up cup {number}" for number in range(200)]
    chosen = shortlist("pick up red cup", [*crowd, "open fridge"])
    assert len(chosen) == SHORTLIST
    assert shortlist("eat apple", ["open fridge"]) == []


def test_a_repair_never_chooses_among_boxes() -> None:
    valid = ["move apple to red box", "move apple to green box", "move apple to table"]
    assert shortlist("move apple to bx", valid) == ["move apple to table"]
    assert shortlist("move appl to red box", valid[:2]) == []
