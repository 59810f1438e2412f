"""The compact prompt format: whole prompts spelled out, and decisions that survive the round trip."""

from __future__ import annotations

import pytest

from tests.oracle import one_of_each_task, rule_annotations
from training.datasets import decisions
from waymark.agent import state as fold
from waymark.contracts import AgentState, Role
from waymark.errors import UnparsableAction
from waymark.loadtest.sample_states import sample
from waymark.worlds.registry import get_format
from waymark.worlds.scienceworld.prompts.compact import COMPACT, COMPACT_PLAIN

LOOK = """This room is called the kitchen. In it, you see: 
\tthe agent
\ta substance called air
\ta chair. On the chair is: nothing.
\ta cupboard. The cupboard door is open. In the cupboard is: a metal pot (containing nothing), a tin cup (containing a substance called water).
\ta stove, which is turned off. On the stove is: nothing.
\tunknown substance A
You also see:
\tA door to the hallway (that is open)
\tA door to the outside (that is closed)
"""  # noqa: W291, E501 (the simulator's own text)
INVENTORY = "In your inventory, you see:\n\ta thermometer, currently reading a temperature of 10 degrees celsius\n"


def midway() -> AgentState:
    state = fold.start("Your task is to boil water.", LOOK, INVENTORY)
    state = fold.with_subgoal(state, "navigate_to(kitchen)")
    state = fold.after_step(state, "teleport to kitchen", "You teleport to the kitchen.", LOOK, INVENTORY, 3)
    return fold.with_subgoal(state, "move(tin cup, stove)")


ANSWER = "answer you teleport to kitchen"
SCENE = (
    "room kitchen : chair , cupboard open holds metal pot , tin cup ( water ) , "
    "stove off , unknown substance a , door to outside ( that is closed ) | have thermometer 10"
)


def test_the_executor_reads_its_subgoal_and_the_scene() -> None:
    assert COMPACT.render("executor", midway()) == (
        f"move tin cup , stove | before teleport to kitchen | {ANSWER} | {SCENE}"
    )


def test_the_executor_sees_what_it_has_done_for_its_subgoal() -> None:
    state = fold.after_step(midway(), "activate stove", "It is on.", LOOK, INVENTORY, 3)
    prompt = COMPACT.render("executor", state)
    assert prompt.startswith("move tin cup , stove | before teleport to kitchen | did activate stove | answer it is on")
    unknown = COMPACT.render("executor", fold.after_subgoal_ended(state))
    assert unknown.startswith("move tin cup , stove | did teleport to kitchen ; activate stove | answer")


@pytest.mark.parametrize(
    ("task", "listed", "here"),
    [
        ("boil lead", "a metal pot (containing solid lead)", "solid lead in metal pot"),
        ("boil lead", "a table. On the table is: a switch, which is on, a substance called lead.", "lead"),
        ("boil tin", "a tin cup (containing a substance called air)", "nothing"),
        ("melt orange juice", "an orange\n\ta wood cup (containing orange juice)", "orange juice in wood cup"),
        ("move the orange box", "an orange", "nothing"),
        ("make red-orange paint", "a jug (containing orange paint, red-orange paint)", "red - orange paint in jug"),
        ("focus on the life stages of the toad", "a baby toad\n\ta frog egg\n\ta toad egg", "baby toad , toad egg"),
        (
            "grow a pea plant",
            "a flower pot 3 (containing a pea plant in the adult stage. On the pea plant you see: a flower. , soil)",
            "pea plant in adult stage in flower pot 3",
        ),
    ],
)
def test_prompts_say_where_a_visible_named_thing_is(task: str, listed: str, here: str) -> None:
    state = fold.start(task, f"This room is called the hall. In it, you see:\n\t{listed}", "")
    for role in ("controller", "flat"):
        assert f" | here {here} | room" in COMPACT.render(role, state)
    assert "here" not in COMPACT.render("executor", state)


def test_named_things_stand_first_in_the_prompt() -> None:
    table = "a table. On the table is: a bowl (containing tin, lead), a substance called lead, a tin cup."
    closet = "a closet. The closet door is open. In the closet is: a substance called lead."
    chair, pot = "a chair. On the chair is: nothing.", "a solid lead\n\ta pot (containing lead)"
    look = f"This room is called the hall. In it, you see:\n\t{chair}\n\t{table}\n\t{closet}\n\t{pot}"
    prompt = COMPACT.render("controller", fold.start("boil lead", look, ""))
    assert "| here lead in bowl , lead , solid lead , lead in pot |" in prompt
    others = "chair , table holds bowl ( tin , lead ) , tin cup , closet open , pot ( lead )"
    assert f"| room hall : lead , lead , solid lead , {others} |" in prompt
    assert "room hall : chair , table holds bowl" in COMPACT.render("executor", fold.start("boil lead", look, ""))


def test_a_line_that_lists_nothing_stays_where_it_is() -> None:
    look = "This room is called the hall. In it, you see:\n\ton\n\tlead"
    assert "| room hall : lead , on |" in COMPACT.render("controller", fold.start("boil lead", look, ""))


def test_prompts_list_the_ingredients_of_a_read_recipe() -> None:
    look = "This room is called the hall. In it, you see:\n\ta bowl (containing a red apple, a salt)\n\ta pepper"
    state = fold.start("make jam", look, "a recipe titled instructions to make salt")
    read = fold.after_step(state, "read recipe", "To make jam, you need to mix apple, salt.", look, "", 0)
    assert "| here nothing |" in COMPACT.render("controller", state)
    assert "| here red apple in bowl , salt in bowl |" in COMPACT.render("controller", read)


def test_readings_stay_in_sight_digit_by_digit() -> None:
    state = fold.start("Is it above 50.0 degrees celsius?", LOOK, "")
    for action, answer in (
        ("use thermometer on tin", "the thermometer measures a temperature of 235 degrees celsius"),
        ("look at inclined plane a", "an inclined plane A, with: a block approximately 5% down the plane"),
        ("use thermometer on tin", "the thermometer measures a temperature of -3 degrees celsius"),
        ("wait1", "You decide to wait for 1 iterations."),
    ):
        state = fold.after_step(state, action, answer, LOOK, "", 0)
    prompt = COMPACT.render("controller", state)
    assert prompt.startswith("is it above 0 0 5 0 degrees")
    assert (
        "| read use thermometer on tin below : - 0 0 0 3 degrees ; look at inclined plane a : 0 0 5 down |"
    ) in prompt


def test_a_circuit_is_read_only_after_a_connection_was_made() -> None:
    look = "This room is called the workshop. In it, you see:\n\ta red light bulb, which is {}\n\ta switch, which is on"

    def reads(action: str, *, lamp: str, clause: str = "") -> str:
        state = fold.start(f"Is tin conductive?{clause}", look, "")
        return COMPACT.render("controller", fold.after_step(state, action, "Done.", look.format(lamp), "", 0))

    connected = "connect battery anode to red wire terminal 1"
    assert "| read circuit on conductive : red light bulb |" in reads(connected, lamp="on")
    assert "| read circuit off nonconductive |" in reads(connected, lamp="off")
    boxes = " If it is nonconductive, place it in the red box. If it is conductive, place it in the blue box."
    assert "if it is conductive , place it in blue box | seen" in reads(connected, lamp="on", clause=boxes)
    assert "red box" not in reads(connected, lamp="on", clause=boxes)
    assert "blue box" not in reads(connected, lamp="off", clause=boxes)
    assert "circuit" not in reads("wait1", lamp="off")


HOT = "If it is above 50.0 degrees celsius, focus on the red box."
COLD = "If it is below 50.0 degrees celsius, focus on the blue box."
TOLD_HOT, TOLD_COLD = (
    f"if it is {word} 0 0 5 0 degrees , focus on {colour} box" for word, colour in (("above", "red"), ("below", "blue"))
)


@pytest.mark.parametrize(
    ("task", "measured", "text"),
    [
        (f"Measure it. {HOT} {COLD} They are here.", (), f"measure it {TOLD_HOT} {TOLD_COLD} they are here"),
        (f"Measure it. {HOT} {COLD} They are here.", (60,), f"measure it {TOLD_HOT} they are here"),
        (f"Measure it. {HOT} {COLD} They are here.", (40,), f"measure it {TOLD_COLD} they are here"),
        (f"Measure it. {HOT} {COLD} They are here.", (40, 60), f"measure it {TOLD_HOT} {TOLD_COLD} they are here"),
        (f"{COLD} {HOT}", (60,), TOLD_HOT),
        (f"Measure it. {HOT}", (40,), "measure it"),
        ("Go if it is above 50.0 degrees celsius.", (40,), "go if it is above 0 0 5 0 degrees"),
    ],
)
def test_clauses_that_readings_rule_out_are_left_out(task: str, measured: tuple[int, ...], text: str) -> None:
    look = "This room is called the hall. In it, you see:\n\ta red box\n\ta blue box"
    state = fold.start(task, look, "")
    for place, degrees in enumerate(measured):
        answer = f"the thermometer measures a temperature of {degrees} degrees celsius"
        state = fold.after_step(state, f"use thermometer on tin {place}", answer, look, "", 0)
    boxes = [box for box in ("red box", "blue box") if box in text]
    for role in ("controller", "flat"):
        prompt = COMPACT.render(role, state)
        assert prompt.startswith(f"{text} | seen hall")
        assert f" | here {' , '.join(boxes) or 'nothing'} |" in prompt


def test_a_flower_pot_shows_the_trait_of_its_child_plant() -> None:
    def reads(trait: str, bears: str, *answers: str) -> str:
        flower = "a pea plant in the reproducing stage with a tall height. On the pea plant you see: "
        pots = f"a flower pot 1 (containing {flower}{bears}. , soil)\n\ta seed jar (containing a round pea seed)"
        look = f"This room is called the greenhouse. In it, you see:\n\t{pots}"
        task = f"Determine whether {trait} is a dominant or recessive trait in the pea plant. If dominant, go."
        state = fold.start(task, look, "")
        for answer in answers:
            state = fold.after_step(state, "look at flower pot 2", answer, look, "", 0)
        return COMPACT.render("controller", state).partition("| read ")[2].partition(" |")[0]

    assert reads("round seed shape", "a flower") == ""
    assert reads("round seed shape", "a round green pea seed") == "cross dominant"
    assert reads("wrinkly seed shape", "a round green pea seed") == "cross recessive"
    assert reads("tall plant height", "a round green pea seed") == ""
    assert reads("tall plant height", "a flower", "a flower pot 2 (containing soil)", "a tall one") == "cross dominant"
    assert reads("tall plant height", "a flower", "a pea plant with a short height") == "cross recessive"


def test_readings_are_compared_with_the_task_or_each_other() -> None:
    def reads(task: str, *readings: tuple[str, str]) -> list[str]:
        state = fold.start(task, LOOK, "")
        for action, answer in readings:
            state = fold.after_step(state, action, answer, LOOK, "", 0)
        prompt = COMPACT.render("controller", state)
        return prompt.partition("| read ")[2].split(" | ")[0].split(" ; ")

    slid = [
        (f"look at inclined plane {name}", f"it is approximately {much}% down the plane")
        for name, much in zip("abc", (9, 30, 9), strict=True)
    ]
    a, b, c = (f"look at inclined plane {name}" for name in "abc")
    compared = [f"{a} below : 0 0 9 down", f"{b} above : 0 3 0 down", f"{c} below : 0 0 9 down"]
    assert reads("steepest?", *slid) == compared
    assert reads("steepest?", slid[0], slid[2]) == [f"{a} : 0 0 9 down", f"{c} : 0 0 9 down"]
    hot, cold = (
        ("use thermometer on tin", "it is 60 degrees celsius"),
        ("use thermometer on liquid tin", "it is 55.0 degrees celsius"),
    )
    assert reads("Is it above 50.0 degrees celsius?", hot, cold) == [
        "use thermometer on tin above : 0 0 6 0 degrees",
        "use thermometer on liquid tin above : 0 0 5 5 degrees",
    ]


def test_the_controller_reads_the_task_and_the_subgoals_so_far() -> None:
    assert COMPACT.render("controller", midway()) == (
        "boil water | seen kitchen | gave navigate_to kitchen ; move tin cup , stove | did teleport to kitchen | "
        f"{ANSWER} | here water in tin cup | {SCENE} | score 3"
    )


def test_the_flat_agent_reads_no_subgoals() -> None:
    assert COMPACT.render("flat", midway()) == (
        f"boil water | seen kitchen | did teleport to kitchen | {ANSWER} | here water in tin cup | {SCENE} | score 3"
    )


def test_an_answer_that_repeats_the_look_is_left_out() -> None:
    state = fold.after_step(fold.start("Task.", LOOK, ""), "look around", LOOK.strip(), LOOK, "", 0)
    assert "answer" not in COMPACT.render("flat", state)


def test_names_with_hyphens_are_read_and_written_word_by_word() -> None:
    state = fold.start("Your task is to create yellow-orange paint. It is -3 degrees celsius.", LOOK, "")
    assert COMPACT.render("flat", state).startswith("create yellow - orange paint it is - 0 0 0 3 degrees |")
    assert COMPACT.target("controller", "focus_on(yellow-orange paint)") == "focus_on yellow - orange paint"
    assert COMPACT.parse("controller", "focus_on yellow - orange paint") == "focus_on(yellow-orange paint)"


@pytest.mark.parametrize("role", ["controller", "executor", "flat"])
def test_every_oracle_decision_survives_the_round_trip(role: Role) -> None:
    chosen = one_of_each_task()
    named = rule_annotations(chosen)
    for trajectory in chosen:
        for decision in decisions(trajectory, named[trajectory.key], role):
            expected = decision.answer.lower() if decision.answer else None
            assert COMPACT.parse(role, COMPACT.target(role, decision.answer)) == expected


def test_an_empty_answer_cannot_be_parsed() -> None:
    with pytest.raises(UnparsableAction):
        COMPACT.parse("executor", "  ")


@pytest.mark.parametrize(
    "text", ["(no answer)", "navigate_to(kitchen", "navigate_to kitchen)", "pick_up ( apple", "? kitchen", "3"]
)
@pytest.mark.parametrize("role", ["controller", "first"])
def test_words_without_a_verb_are_no_subgoal(role: Role, text: str) -> None:
    for name in ("compact", "transcript", "textworld-plain"):
        with pytest.raises(UnparsableAction):
            get_format(name).parse(role, text)


def test_a_subgoal_may_hold_pairs_of_parentheses() -> None:
    text = COMPACT.target("controller", "pick_up(jar (of water), self-made box)")
    assert COMPACT.parse("controller", text) == "pick_up(jar (of water), self-made box)"


# --- without aids ----------------------------------------------------------------------------------------

ROLES: tuple[Role, ...] = ("controller", "first", "flat")
BOILS = (
    "Your task is to measure the boiling point of lead. If it is above 50.0 degrees celsius, focus on the blue box. "
    "If it is below 50.0 degrees celsius, focus on the red box."
)


@pytest.mark.parametrize("role", ROLES)
def test_the_plain_format_has_none_of_the_aids(role: Role) -> None:
    state = fold.start(BOILS, LOOK.replace("unknown substance A", "a substance called lead"), INVENTORY)
    read = "the thermometer measures a temperature of 80 degrees celsius"
    state = fold.after_step(state, "use thermometer on lead", read, state.look, INVENTORY, 3)
    state = fold.after_step(
        state, "connect battery to wire", "Done.", f"{state.look}\n\ta red motor, which is on", "", 3
    )
    aided, plain = COMPACT.render(role, state), COMPACT_PLAIN.render(role, state)
    assert "| here lead |" in aided
    assert "use thermometer on lead above : 0 0 8 0 degrees" in aided
    assert "circuit on conductive : red motor" in aided
    assert "red box" not in aided
    for aid in ("here", "above :", "conductive", "circuit"):
        assert aid not in plain
    assert "above 0 0 5 0 degrees , focus on blue box if it is below 0 0 5 0 degrees , focus on red box |" in plain
    assert "read use thermometer on lead : thermometer measures temperature of 0 0 8 0 degrees |" in plain


@pytest.mark.parametrize("role", ROLES)
def test_the_plain_format_lists_the_room_as_the_simulator_does(role: Role) -> None:
    look = "This room is called the kitchen. In it, you see: \n\ta chair\n\ta table. On the table is: a lemon, an axe."
    state = fold.start("Your task is to grow a lemon.", look, "")
    assert "room kitchen : lemon , chair , table holds axe |" in COMPACT.render(role, state)
    assert "room kitchen : chair , table holds lemon , axe |" in COMPACT_PLAIN.render(role, state)


def test_executors_read_the_same_with_and_without_aids() -> None:
    for recorded in sample():
        assert COMPACT.render("executor", recorded.state) == COMPACT_PLAIN.render("executor", recorded.state)


@pytest.mark.parametrize("role", ROLES)
def test_the_plain_format_shows_the_whole_task_and_marks_nothing(role: Role) -> None:
    for recorded in sample():
        prompt = COMPACT_PLAIN.render(role, recorded.state)
        assert " | here " not in prompt
        assert " circuit o" not in prompt.partition(" | room ")[0]
        task = COMPACT_PLAIN.render(role, fold.start(recorded.state.task, "", "")).partition(" | ")[0]
        assert prompt.startswith(f"{task} | ")
