"""The action grammar: what it reads, where it cuts, and that nothing is lost between the notations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld import actions
from waymark.worlds.scienceworld.actions import END_SUBGOAL, GRAMMAR, Action, Row

CANONICAL = {
    "look around": "SEE()",
    "inventory": "INVENTORY()",
    "task": "TASK()",
    "wait": "WAIT()",
    "wait1": "WAIT1()",
    "0": "CHOOSE(0)",
    "12": "CHOOSE(12)",
    "look at stove": "LOOK(stove)",
    "look in cupboard": "LOOK_IN(cupboard)",
    "examine substance in metal pot": "EXAMINE(substance in metal pot)",
    "read recipe in inventory": "READ(recipe in inventory)",
    "focus on inclined plane with a wood surface": "FOCUS(inclined plane with a wood surface)",
    "teleport to art studio": "TELEPORT(art studio)",
    "go to door to kitchen": "GO(door to kitchen)",
    "open door to kitchen": "OPEN_DOOR(kitchen)",
    "close door to kitchen": "CLOSE_DOOR(kitchen)",
    "open art studio door": "OPEN(art studio door)",
    "open drawer in cupboard": "OPEN(drawer in cupboard)",
    "close door": "CLOSE(door)",
    "activate stopwatch in inventory": "ACTIVATE(stopwatch in inventory)",
    "deactivate sink": "DEACTIVATE(sink)",
    "pick up thermometer": "PICK(thermometer)",
    "put down orange in inventory": "DROP(orange in inventory)",
    "eat apple": "EAT(apple)",
    "flush toilet": "FLUSH(toilet)",
    "mix cup containing red paint in table": "MIX(cup containing red paint in table)",
    "disconnect red wire": "DISCONNECT(red wire)",
    "connect battery anode to blue wire terminal 1": "CONNECT(battery anode, blue wire terminal 1)",
    "connect cathode in buzzer to door to outside": "CONNECT(cathode in buzzer, door to outside)",
    "connect door to kitchen to agent": "CONNECT(door to kitchen, agent)",
    "connect door to greenhouse to door": "CONNECT(door to greenhouse, door)",
    "connect door to air": "CONNECT(door, air)",
    "connect door to door to kitchen": "CONNECT(door, door to kitchen)",
    "connect bathroom door to cup in table": "CONNECT(bathroom door, cup in table)",
    "move flower pot 6 containing apple tree and soil in inventory to red box": (
        "MOVE(flower pot 6 containing apple tree and soil in inventory, red box)"
    ),
    "move block in workshop to inclined plane with a wood surface": (
        "MOVE(block in workshop, inclined plane with a wood surface)"
    ),
    "pour jug into flower pot 1": "POUR(jug, flower pot 1)",
    "dunk cup containing red paint in cupboard into table": "DUNK(cup containing red paint in cupboard, table)",
    "use thermometer in inventory on substance in metal pot": "USE(thermometer in inventory, substance in metal pot)",
    "use lighter on living thing on cup": "USE(lighter, living thing on cup)",
    "use lighter": "USE(lighter)",
}

ALIASES = {
    "look": "look around",
    "look on table": "look at table",
    "focus stove": "focus on stove",
    "go OBJ": "go to OBJ",
    "go through door to hallway": "go to door to hallway",
    "walk to kitchen": "go to kitchen",
    "move to kitchen": "go to kitchen",
    "move into hallway": "go to hallway",
    "teleport OBJ": "teleport to OBJ",
    "turn on stove": "activate stove",
    "turn off stove": "deactivate stove",
    "get cup": "pick up cup",
    "take cup": "pick up cup",
    "drop light": "put down light",
    "consume apple": "eat apple",
    "stir jug": "mix jug",
    "put block on inclined plane with a wood surface": "move block to inclined plane with a wood surface",
    "move cup in sink": "move cup to sink",
    "dunk OBJ in OBJ": "dunk OBJ into OBJ",
    "pour cup containing red paint in jug": "pour cup containing red paint into jug",
    "pour cup containing red paint in desk in jug": "pour cup containing red paint in desk into jug",
    "pour cup containing red paint in desk in cup containing nothing in table": (
        "pour cup containing red paint in desk into cup containing nothing in table"
    ),
    "use thermometer with inclined plane with a wood surface": "use thermometer on inclined plane with a wood surface",
}


@pytest.mark.parametrize(("text", "formal"), CANONICAL.items())
def test_a_canonical_string_round_trips_through_both_notations(text: str, formal: str) -> None:
    action = actions.parse(text)
    assert actions.formal(action) == formal
    assert actions.parse_formal(formal) == action
    assert actions.format(action) == text


@pytest.mark.parametrize(("text", "canonical"), ALIASES.items())
def test_an_alias_comes_back_as_its_canonical_string(text: str, canonical: str) -> None:
    assert actions.format(actions.parse(text)) == canonical


def test_every_row_of_the_table_is_exercised() -> None:
    used = {(action.verb, len(action.args)) for action in map(actions.parse, CANONICAL)}
    assert used == {(row.verb, row.arity) for row in GRAMMAR}


def test_case_and_repeated_spaces_do_not_matter() -> None:
    assert actions.parse("  Pick  UP inclined plane B ") == Action("PICK", ("inclined plane B",))


@pytest.mark.parametrize("text", ["", "foo", "pick up", "reset task", "Reset  Task", "END_SG()", "pick up a, b", "-1"])
def test_a_string_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(UnparsableAction):
        actions.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PICK",
        "PICK()",
        "PICK(a, b)",
        "MOVE(a)",
        "MOVE(a, )",
        "FLY(a)",
        "pick(a)",
        "RESET()",
        "END_SG(a)",
        "PICK(a) b",
    ],
)
def test_a_functional_string_outside_the_table_is_refused(text: str) -> None:
    with pytest.raises(UnparsableAction):
        actions.parse_formal(text)


def test_the_end_of_a_subgoal_has_a_functional_form_only() -> None:
    assert actions.parse_formal(" END_SG() ") == END_SUBGOAL
    assert actions.is_end(END_SUBGOAL)
    assert not actions.is_end(Action("SEE"))
    with pytest.raises(UnparsableAction):
        actions.format(END_SUBGOAL)


NOUNS = st.sampled_from(["door", "kitchen", "cup", "flower pot 1", "inclined plane with a wood surface", "unknown B"])
PREPOSITIONS = st.sampled_from(["to", "in", "on", "into", "containing", "and"])
NAMES = st.builds(
    lambda noun, more: " ".join([noun, *(word for pair in more for word in pair)]),
    NOUNS,
    st.lists(st.tuples(PREPOSITIONS, NOUNS), max_size=3),
)


@given(st.sampled_from([row for row in GRAMMAR if row.verb != "CHOOSE"]), NAMES, NAMES)
def test_names_with_prepositions_survive_the_round_trip(row: Row, first: str, second: str) -> None:
    text = row.pattern.format(*(first, second)[: row.arity])
    action = actions.parse(text)
    assert actions.format(action) == text
    assert actions.parse_formal(actions.formal(action)) == action
