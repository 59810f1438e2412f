"""Where sub-goals come from: what each source names, given the state, the controller's answers or an oracle path."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.answers import subgoal_answer
from training.annotations import Annotation
from training.annotations import training_subgoals as training_subgoals_of
from waymark.agent.rules import Choice, SubgoalRule, WellFormed, rules_of
from waymark.agent.state import after_subgoal_ended, start, with_subgoal
from waymark.agent.subgoal_sources import llm_plan, oracle
from waymark.agent.subgoal_sources.at_random import RandomSource
from waymark.agent.subgoal_sources.controller import ControllerSource, choose_subgoal
from waymark.agent.subgoal_sources.plan import PlanSource
from waymark.clients.chat import Answer, Message
from waymark.contracts import AgentConfig, AgentState, SubgoalAlternative, SubgoalResponse, Usage
from waymark.errors import EndpointUnusable, PlannerFailed, PlanUnreadable
from waymark.worlds.base import COMPLETE, Segment
from waymark.worlds.scienceworld.agent_world import SCIENCEWORLD
from waymark.worlds.scienceworld.planner_prompt import PLAN_PROMPT
from waymark.worlds.scienceworld.random_subgoals import (
    training_subgoals,
    visible_rooms,
    visible_things,
    with_random_arguments,
)
from waymark.worlds.scienceworld.tasks import find_task
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio

LOOK = """This room is called the kitchen. In it, you see:
	the agent
	a substance called air
	a counter. On the counter is: a bowl (containing a red apple, an orange), a drawer.
	a fridge. The fridge door is closed.
	a oven, which is turned off. The oven door is open.
	a glass jar (containing a substance called sodium chloride)
	a thermometer, currently reading a temperature of 10 degrees celsius
You also see:
	A door to the green house (that is open)
	A door to the hallway (that is closed)
"""
KITCHEN = start("Your task is to boil water.", LOOK, "In your inventory, you see:\n\tan orange\n\ta stopwatch\n")
SUBGOAL_RULES = rules_of(AgentConfig(), SCIENCEWORLD).of(SubgoalRule)
THINGS = "counter,bowl,red apple,orange,drawer,fridge,oven,glass jar,sodium chloride,thermometer".split(",")


# --- the controller's, by the rules of play ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("alternatives", "ended", "chosen"),
    [
        (["a"], None, "a"),
        (["a", "b"], "a", "b"),
        (["complete_task()", "a", "b"], "a", "complete_task()"),
        (["a"], "a", "a"),
        ([], "a", None),
        (["complete_task()"], "complete_task()", None),
    ],
)
def test_the_first_allowed_subgoal_is_followed(alternatives: list[str], ended: str | None, chosen: str | None) -> None:
    assert choose_subgoal(alternatives, Choice(KITCHEN, ended), SUBGOAL_RULES) == chosen


@pytest.mark.parametrize(
    ("subgoal", "most"), [("open(oven)", 1), ("measure_temperature(ice)", 3), ("wait_for(frog)", 3), ("wait1(5)", 3)]
)
def test_a_subgoal_is_given_a_limited_number_of_times(subgoal: str, most: int) -> None:
    allowed, spent = (Choice(KITCHEN, "a", {subgoal: times}) for times in (most - 1, most))
    assert choose_subgoal([subgoal, "b"], allowed, SUBGOAL_RULES) == subgoal
    assert choose_subgoal([subgoal, "b"], spent, SUBGOAL_RULES) == "b"


@pytest.mark.parametrize(
    ("subgoal", "formed"),
    [
        ("move(orange, glass jar)", True),
        ("build_circuit(battery, red light bulb, fork)", True),
        ("open_everything()", True),
        (COMPLETE, True),
        ("move(orange)", False),
        ("move(orange, )", False),
        ("look_at(, red box)", False),
        ("orange()", False),
        ("navigate_to", False),
        ("navigate_to()", False),
        ("?", False),
    ],
)
def test_subgoals_must_have_a_trained_form(subgoal: str, formed: bool) -> None:
    assert WellFormed(SCIENCEWORLD).is_formed(subgoal) is formed


async def test_the_controller_is_asked_for_more_after_repeated_subgoals() -> None:
    counts: list[int] = []

    async def ask(now: AgentState, /, *, n: int) -> SubgoalResponse:
        counts.append(n)
        named = [f"look_at({thing})" for thing in THINGS[: 2 if n < 10 else 4]]
        return subgoal_answer(
            *(SubgoalAlternative(subgoal=subgoal, logprob=-1.0, mean_logprob=-1.0) for subgoal in named)
        )

    source, state, subgoals = ControllerSource(ask), KITCHEN, []
    for _ in range(4):
        subgoal = await source.next(state)
        assert subgoal is not None
        subgoals.append(subgoal)
        state = after_subgoal_ended(with_subgoal(state, subgoal))
    assert subgoals == ["look_at(counter)", "look_at(bowl)", "look_at(red apple)", "look_at(orange)"]
    assert counts == [1, 5, 5, 16, 5, 16]


# --- drawn at random ---------------------------------------------------------------------------------------


def test_visible_things_are_named_as_listed() -> None:
    assert visible_things(KITCHEN) == [*THINGS, "stopwatch"]
    assert visible_rooms(KITCHEN) == ["kitchen", "greenhouse", "hallway"]


def test_training_subgoals_ship_and_none_of_them_ends_a_task() -> None:
    shipped = training_subgoals()
    assert len(set(shipped)) == len(shipped) > 100
    assert "navigate_to(kitchen)" in shipped
    assert all(subgoal.endswith(")") and "(" in subgoal for subgoal in shipped)
    assert "complete_task()" not in shipped


def test_shipped_subgoals_are_of_training_variations_each_once() -> None:
    def annotated(variation: int, *subgoals: str) -> Annotation:
        segments = [Segment(subgoal, at, at + 1) for at, subgoal in enumerate(subgoals)]
        return Annotation("4-2", variation, "rule", [*segments, Segment(COMPLETE, len(segments), len(segments))])

    train, dev = find_task("4-2").split("train")[0], find_task("4-2").split("dev")[0]
    paths = [annotated(train, "pick_up(axe)", "drop(axe)", "pick_up(axe)"), annotated(dev, "pick_up(moon)")]
    assert training_subgoals_of(paths) == ["drop(axe)", "pick_up(axe)"]


async def test_random_subgoals_follow_the_seed_and_nothing_else() -> None:
    async def drawn(seed: str) -> list[str | None]:
        source = RandomSource(random.Random(seed))
        return [await source.next(KITCHEN) for _ in range(20)]

    assert await drawn("0 4-2 1") == await drawn("0 4-2 1")
    assert await drawn("0 4-2 1") != await drawn("1 4-2 1")
    assert set(await drawn("0 4-2 1")) <= set(training_subgoals())


def test_random_arguments_are_rooms_and_things_in_sight() -> None:
    chance = random.Random(0)
    moves = {with_random_arguments("move(lead, red box)", KITCHEN, chance) for _ in range(100)}
    assert len(moves) > 20
    for move in moves:
        assert set(move.removeprefix("move(").removesuffix(")").split(", ")) <= {*THINGS, "stopwatch"}
    ways = {with_random_arguments("navigate_to(foundry)", KITCHEN, chance) for _ in range(100)}
    assert ways == {"navigate_to(kitchen)", "navigate_to(greenhouse)", "navigate_to(hallway)"}


@pytest.mark.parametrize("subgoal", ["wait1(5)", "open_everything()", "no call at all"])
def test_a_subgoal_that_names_no_thing_stays(subgoal: str) -> None:
    assert with_random_arguments(subgoal, KITCHEN, random.Random(0)) == subgoal


def test_arguments_without_visible_replacement_stay() -> None:
    dark = AgentState(task="t", look="It is dark.")
    assert (
        with_random_arguments("monitor_temperature(lead, boil)", dark, random.Random(0))
        == "monitor_temperature(lead, boil)"
    )
    assert with_random_arguments("monitor_temperature(lead, boil)", KITCHEN, random.Random(0)).endswith(", boil)")


# --- plans made beforehand ---------------------------------------------------------------------------------


async def test_a_plan_advances_after_each_ended_subgoal() -> None:
    source = PlanSource(["wait1(5)", "wait1(5)", "complete_task()"])
    assert await source.next(KITCHEN) == "wait1(5)"
    going_on = with_subgoal(KITCHEN, "wait1(5)")
    assert await source.next(going_on) == "wait1(5)"
    ended = after_subgoal_ended(going_on)
    assert [await source.next(ended) for _ in range(3)] == ["wait1(5)", None, None]


def test_the_oracles_subgoals_are_those_of_its_path_by_rule() -> None:
    named = oracle.subgoals(ScriptedEnvironment(), "4-2", 0, "easy")
    assert named == [
        "focus_on(picture)",
        "pick_up(picture)",
        "navigate_to(kitchen)",
        "move(picture, red box)",
        "complete_task()",
    ]


class Planner:
    """Gives one answer, or the error."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.asked: list[Sequence[Message]] = []

    async def ask(self, messages: Sequence[Message]) -> Answer:
        self.asked.append(messages)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Answer(text=self.answer, finish_reason="stop", prompt_tokens=400, completion_tokens=60)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("1. navigate_to(kitchen)\n2. pick_up(metal pot)", ["navigate_to(kitchen)", "pick_up(metal pot)"]),
        (
            "Here it is:\n1- navigate_to(Kitchen) 2- move( apple ,'red box' )",
            ["navigate_to(kitchen)", "move(apple, red box)"],
        ),
        ("1) **open_everything()**: looks\n 2) `wait1(5)` to see (maybe)", ["open_everything()", "wait1(5)"]),
        ("<think>1. wait(1)</think>1. read(recipe)\n2. complete_task()", ["read(recipe)"]),
        ("1. focus_on(cup (containing water))", ["focus_on(cup (containing water))"]),
        ("<think>1. wait(1) and so on", []),
        ("go to the kitchen(now), then boil the water", []),
        ("", []),
    ],
)
def test_numbered_subgoals_are_read_among_other_text(text: str, plan: list[str]) -> None:
    assert llm_plan.read(text) == plan


def test_the_example_plan_is_read_back_as_written() -> None:
    assert llm_plan.read(llm_plan.written(PLAN_PROMPT.plan)) == list(PLAN_PROMPT.plan)


async def test_a_plan_is_requested_once_and_counted() -> None:
    planner, counted = Planner("1. navigate_to(foundry)"), list[Usage]()
    assert await llm_plan.ask_plan(planner, KITCHEN, counted.append) == ["navigate_to(foundry)"]
    ((system, _, example, question),) = planner.asked
    assert "heat(THING, DEVICE)" in system["content"]
    assert example["content"].startswith("1. navigate_to(kitchen)\n2. open(cupboard)")
    for part in ("boil water", "glass jar", "a stopwatch"):
        assert part in question["content"]
    assert counted == [Usage(prompt_tokens=400, completion_tokens=60)]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ("I cannot help with that.", PlanUnreadable, "'I cannot help with that.'"),
        (
            EndpointUnusable("It answered 401.", remedy="Check the key."),
            PlannerFailed,
            "It answered 401. Check the key.",
        ),
    ],
)
async def test_a_missing_plan_has_its_own_error(answer: str | Exception, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=r"No plan|holds no") as raised:
        await llm_plan.ask_plan(Planner(answer), KITCHEN, lambda _: None)
    assert says in str(raised.value)
