"""The published prompt format, spelt out whole: every space of it was in the models' training data."""

from __future__ import annotations

import pytest

from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.prompts.seed import SEED
from waymark.state import recent

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
HALLWAY = (
    "Current environment: This room is called the hallway. In it, you see:  | a picture | You also see: | "
    "A door to the greenhouse  |  </s> Current inventory: In your inventory, you see: | an orange |  </s> "
    "Visited rooms: hallway </s> "
)
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
        f"Your task is to boil water. </s> Time: 1; Score: 0; </s> {HALLWAY} . You just have started this task. "
        "You did not do any actions yet. What is the first subtask you should do? </s> ",
    ),
    (
        "controller",
        START,
        "Your task is to boil water. </s> Time: 1; Score: 0; </s> . No completed subtasks. The current subtask is "
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


def test_the_last_ten_turns_are_shown_and_numbered_downwards_from_ten() -> None:
    prompt = SEED.render("flat", after(12))
    assert " <extra_id_10> WAIT1() (+0) --> answer 3 | " in prompt
    assert " <extra_id_1> WAIT1() (+0) --> answer 12 | " in prompt
    assert prompt.count("<extra_id_") == 10
    assert "SEE()" not in prompt


@pytest.mark.parametrize("turns", [0, 9, 10, 11, 30])
def test_a_state_cut_to_the_history_renders_as_the_whole_one(turns: int) -> None:
    whole = after(turns)
    assert SEED.render("executor", recent(whole, SEED.history_turns)) == SEED.render("executor", whole)


def test_a_history_that_lacks_its_beginning_has_no_virtual_turn() -> None:
    assert "N/A" not in SEED.render("flat", recent(after(5), 3))


def test_each_level_of_indentation_is_one_bar() -> None:
    state = START.model_copy(update={"look": "Inside:\n\t\ta cup\tand\n\nmore"})
    assert "Current environment: Inside: |  | a cup | and |  | more </s>" in SEED.render("flat", state)


def test_a_negative_reward_keeps_the_published_plus() -> None:
    failed = START.model_copy(update={"step": 2, "turns": (Turn(action="wait", observation="", reward=-100),)})
    assert "<extra_id_9> WAIT() (+-100) -->  | " in SEED.render("flat", failed)


def test_a_turn_that_was_no_action_is_shown_as_it_was_tried() -> None:
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
