"""The published prompt format, spelt out whole: every space of it was in the models' training data."""

from __future__ import annotations

import pytest

from waymark.agent.state import StateFold, recent
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld.prompts.seed import SEED, SEED_IMPORTED

TASK = "Your task is to boil water."
LOOK = "This room is called the kitchen. In it, you see: \n\ta glass cup (containing nothing)\n\tan orange\n"
INVENTORY = "In your inventory, you see:\n\ta thermometer\n"

START = AgentState(
    task=TASK,
    look="This room is called the hallway. In it, you see: \n\ta picture\nYou also see:\n"
    "\tA door to the green house (that is open)\n",
    inventory="In your inventory, you see:\n\tan orange\n",
    visited_rooms=("hallway",),
)
UNDER_WAY = AgentState(
    task=TASK,
    look=LOOK,
    inventory=INVENTORY,
    observation="You move the thermometer to the inventory.",
    score=7,
    step=3,
    turns=(
        Turn(action="teleport to kitchen", observation="You teleport to the kitchen.", reward=2),
        Turn(action="get thermometer", observation="You move the thermometer to the inventory.", reward=5),
    ),
    visited_rooms=("hallway", "kitchen"),
    completed_subgoals=("navigate_to(kitchen)", "pick_up(thermometer)"),
    current_subgoal="find(metal pot)",
)
SCENE = (
    "Current environment: This room is called the hallway. In it, you see:  | a picture | You also see: | "
    "A door to the greenhouse  |  </s> Current inventory: In your inventory, you see: | an orange |  </s> "
)
HALLWAY = f"{SCENE}Visited rooms: hallway </s> "
KITCHEN = (
    "Action history: </s> <extra_id_10> SEE() (+0) --> N/A |  <extra_id_9> TELEPORT(kitchen) (+2) --> "
    "You teleport to the kitchen. |  <extra_id_8> PICK(thermometer) (+5) --> "
    "You move the thermometer to the inventory. |  </s> "
    "Current environment: This room is called the kitchen. In it, you see:  | a glass cup  | an orange |  </s> "
    "Current inventory: In your inventory, you see: | a thermometer |  </s> Visited rooms: hallway, kitchen </s> "
)
SUBGOALS = (
    ". Completed subtasks are: navigate_to(kitchen), pick_up(thermometer). The current subtask is find(metal pot)"
)

GOLDEN: list[tuple[Role, AgentState, str]] = [
    (
        "executor",
        UNDER_WAY,
        f"Your task is to boil water. </s> Time: 3; Score: 7; </s> {SUBGOALS}{KITCHEN}"
        " What action should you do next? </s> ",
    ),
    (
        "controller",
        UNDER_WAY,
        f"Your task is to boil water. </s> Time: 3; Score: 7; </s> {SUBGOALS}{KITCHEN}"
        " . What subtask should you do next? </s> ",
    ),
    (
        "flat",
        UNDER_WAY,
        f"Your task is to boil water. </s> Time: 3; Score: 7; </s> {KITCHEN} What action should you do next? </s> ",
    ),
    (
        "first",
        START,
        f"Your task is to boil water. </s> Time: 1; Score: 0; </s> {SCENE} . You just have started this task. "
        "You did not do any actions yet. What is the first subtask you should do? </s> ",
    ),
    (
        "controller",
        START,
        "Your task is to boil water. </s> Time: 1; Score: 0; </s> . No completed subtasks"
        f"Action history: </s> <extra_id_10> SEE() (+0) --> N/A |  </s> {HALLWAY}"
        " . What subtask should you do next? </s> ",
    ),
    (
        "flat",
        AgentState(task="Boil.", look="A room."),
        "Boil. </s> Time: 1; Score: 0; </s> Action history: </s> <extra_id_10> SEE() (+0) --> N/A |  </s> "
        "Current environment: A room. </s> Current inventory:  </s>  What action should you do next? </s> ",
    ),
]


@pytest.mark.parametrize(("role", "state", "prompt"), GOLDEN)
def test_prompts_are_those_of_the_publication_space_for_space(role: Role, state: AgentState, prompt: str) -> None:
    assert SEED.render(role, state) == prompt


def after(turns: int) -> AgentState:
    history = tuple(Turn(action="wait1", observation=f"answer {number}") for number in range(1, turns + 1))
    return START.model_copy(update={"step": turns + 1, "turns": history})


def test_the_last_ten_turns_are_numbered_downwards() -> None:
    prompt = SEED.render("flat", after(12))
    assert " <extra_id_10> WAIT() (+0) --> answer 3 | " in prompt
    assert " <extra_id_1> WAIT() (+0) --> answer 12 | " in prompt
    assert prompt.count("<extra_id_") == 10
    assert "SEE()" not in prompt


@pytest.mark.parametrize("turns", [0, 9, 10, 11, 30])
def test_a_state_cut_to_its_history_renders_alike(turns: int) -> None:
    uncut = after(turns)
    assert SEED.render("executor", recent(uncut, SEED.history_turns)) == SEED.render("executor", uncut)


def test_a_history_that_lacks_its_beginning_has_no_virtual_turn() -> None:
    assert "N/A" not in SEED.render("flat", recent(after(5), 3))


def test_each_level_of_indentation_is_one_bar() -> None:
    state = START.model_copy(update={"look": "Inside:\n\t\ta cup\tand\n\nmore"})
    assert "Current environment: Inside: |  | a cup | and |  | more </s>" in SEED.render("flat", state)


def test_a_negative_reward_keeps_the_published_plus() -> None:
    failed = START.model_copy(update={"step": 2, "turns": (Turn(action="wait", observation="", reward=-100),)})
    assert "<extra_id_9> WAIT() (+-100) -->  | " in SEED.render("flat", failed)


def test_an_unreadable_turn_is_shown_as_it_was_tried() -> None:
    odd = START.model_copy(update={"step": 2, "turns": (Turn(action="fly up", observation="No known action."),)})
    assert "<extra_id_9> fly up (+0) --> No known action. | " in SEED.render("executor", odd)


@pytest.mark.parametrize(
    ("role", "decision", "text"),
    [
        ("executor", "use thermometer on water", "USE(thermometer, water)"),
        ("flat", "look around", "SEE()"),
        ("executor", None, "END_SG()"),
        ("controller", "move(apple, red box)", "move(apple, red box)"),
        ("first", "navigate_to(kitchen)", "navigate_to(kitchen)"),
    ],
)
def test_parse_is_the_inverse_of_target(role: Role, decision: str | None, text: str) -> None:
    assert SEED.target(role, decision) == text
    assert SEED.parse(role, text) == decision


def test_targets_say_greenhouse() -> None:
    assert SEED.target("executor", "open door to green house") == "OPEN_DOOR(greenhouse)"


@pytest.mark.parametrize(("role", "text"), [("executor", "PICK thermometer"), ("flat", ""), ("controller", "  ")])
def test_text_that_is_no_decision_is_refused(role: Role, text: str) -> None:
    with pytest.raises(UnparsableAction):
        SEED.parse(role, text)


# --- rules that the golden episodes do not meet --------------------------------------------------------------


def scored(score: int) -> AgentState:
    return START.model_copy(update={"score": score})


@pytest.mark.parametrize(
    ("score", "shown"), [(29, 28), (57, 56), (58, 57), (28, 28), (59, 59), (100, 100), (-100, -100)]
)
def test_scores_are_cut_as_floats(score: int, shown: int) -> None:
    assert f"; Score: {shown}; </s>" in SEED.render("flat", scored(score))


def test_only_three_scores_are_shown_one_point_too_low() -> None:
    changed = [score for score in range(101) if f"; Score: {score}; " not in SEED.render("flat", scored(score))]
    assert changed == [29, 57, 58]


@pytest.mark.parametrize(("reward", "shown"), [(29, 28), (-29, -28), (57, 56), (58, 57), (-100, -100), (33, 33)])
def test_rewards_are_cut_towards_zero_after_a_plus(reward: int, shown: int) -> None:
    turn = Turn(action="wait", observation="You wait.", reward=reward)
    state = START.model_copy(update={"step": 2, "turns": (turn,)})
    assert f"WAIT() (+{shown}) --> You wait." in SEED.render("flat", state)


@pytest.mark.parametrize(
    ("action", "formal"),
    [
        ("drop component in inventory", "DROP(component, inventory)"),
        ("drop seed in jar in inventory", "DROP(seed in jar, inventory)"),
        ("drop light bulb", "DROP(light bulb)"),
        (
            "pour cup containing red paint in art studio in cup containing nothing in table",
            "POUR(cup containing red paint in art studio in cup containing nothing, table)",
        ),
        ("pour jug into flower pot 1 in greenhouse", "POUR(jug, flower pot 1 in greenhouse)"),
        ("pour a into b into c", "POUR(a into b, c)"),
        ("dunk wire into cup", "DUNK(wire, cup)"),
        ("connect anode in bulb to wire terminal 1 to cathode", "CONNECT(anode in bulb to wire terminal 1, cathode)"),
        ("connect door to air to battery", "CONNECT(door to air, battery)"),
        ("move inclined plane with a wood surface to box", "MOVE(inclined plane with a wood surface, box)"),
        ("use thermometer on ice on stove", "USE(thermometer on ice, stove)"),
        ("wait1", "WAIT()"),
        ("wait", "WAIT()"),
        ("0", "CHOOSE(0)"),
        ("1", "CHOOSE(1)"),
        ("look around", "SEE()"),
        ("open door to green house", "OPEN_DOOR(greenhouse)"),
        ("activate bee hive", "OPEN(bee hive)"),
        ("focus on seed peach tree", "FOCUS(peach seed)"),
        ("pick up orange tree seed", "PICK(orange seed)"),
    ],
)
def test_actions_are_written_as_published(action: str, formal: str) -> None:
    assert SEED.target("executor", action) == formal


@pytest.mark.parametrize("action", ["put down orange", "eat apple", "flush toilet", "look in box", "disconnect wire"])
def test_actions_that_were_not_published_keep_a_form(action: str) -> None:
    assert SEED.parse("executor", SEED.target("executor", action)) == action


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("WAIT()", "wait"),
        ("CHOOSE(0)", "0"),
        ("POUR(cup containing a, b, table)", "pour cup containing a, b into table"),
        ("DROP(component, inventory)", "drop component in inventory"),
        ("DROP(light bulb)", "put down light bulb"),
        ("PICK_UP(metal pot)", "pick up metal pot"),
        ("PLACE(apple, red box)", "move apple to red box"),
        ("TURN_ON(sink)", "activate sink"),
        ("END_SG()", None),
    ],
)
def test_published_forms_come_back_as_actions(text: str, action: str | None) -> None:
    assert SEED.parse("executor", text) == action


def test_history_is_cleaned_after_it_is_formalised() -> None:
    state = START.model_copy(update={"step": 2, "turns": (Turn(action="activate bee hive", observation="Done."),)})
    assert "ACTIVATE(bee hive) (+0) --> Done." in SEED.render("flat", state)


def test_an_ended_sub_goal_is_a_turn_that_counts() -> None:
    fold = StateFold.start(TASK, LOOK, INVENTORY)
    fold.give_subgoal("a()")
    fold.act("wait1", "You wait.", LOOK, INVENTORY, 29)
    fold.end_subgoal()
    prompt = SEED.render("executor", fold.state)
    assert "Time: 3; Score: 28; " in prompt
    assert "<extra_id_9> WAIT() (+28) --> You wait. |  <extra_id_8> END_SG() (+0) --> You wait. | " in prompt


OUTSIDE = "This outside location is called the outside. Here you see: \n\tthe agent\n"


def test_outside_is_a_visited_room_only_after_walking_there() -> None:
    fold = StateFold.start(TASK, OUTSIDE, INVENTORY)
    assert "Visited rooms" not in SEED.render("flat", fold.state)
    fold.act("go to kitchen", "You move to the kitchen.", LOOK, INVENTORY, 0)
    assert "Visited rooms: kitchen </s>" in SEED.render("flat", fold.state)
    fold.act("teleport to outside", "You teleport to the outside.", OUTSIDE, INVENTORY, 0)
    assert "Visited rooms: kitchen </s>" in SEED.render("flat", fold.state)
    fold.act("go to outside", "You move to the outside.", OUTSIDE, INVENTORY, 0)
    assert "Visited rooms: kitchen, outside </s>" in SEED.render("flat", fold.state)


def test_a_state_without_named_rooms_shows_the_visited_ones() -> None:
    assert "Visited rooms: hallway, kitchen </s>" in SEED.render("flat", UNDER_WAY)


def after_subgoals(*subgoals: str) -> AgentState:
    fold = StateFold.start(TASK, LOOK, INVENTORY)
    for subgoal in subgoals:
        fold.give_subgoal(subgoal)
    return fold.state


@pytest.mark.parametrize(
    ("subgoals", "sentence"),
    [
        (("a()",), ". No completed subtasksAction"),
        (("a()", "b()"), ". No completed subtasks. The current subtask is a()Action"),
        (("a()", "b()", "c()"), ". Completed subtasks are: a(). The current subtask is b()Action"),
    ],
)
def test_the_imported_format_shows_one_sub_goal_fewer(subgoals: tuple[str, ...], sentence: str) -> None:
    state = after_subgoals(*subgoals)
    assert sentence in SEED_IMPORTED.render("controller", state)
    assert SEED_IMPORTED.render("executor", state) == SEED.render("executor", state)
