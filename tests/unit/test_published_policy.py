"""The published loop: the best answers as they are, its stop rules, and its replacement for unknown actions."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.scripted_agent import Controller, Executor, acting, actions_of
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS, find_agents, name_of
from waymark.contracts import AgentConfig, EpisodeResult, EpisodeSpec, Limits
from waymark.errors import InvalidInput
from waymark.worlds.scienceworld.rules.action_matching import most_similar
from waymark.worlds.scripted.environment import SOLUTION, ScriptedEnvironment

pytestmark = pytest.mark.anyio

PUBLISHED, FLAT = AGENTS["published"], AGENTS["published_flat"]


async def play(
    executor: Executor,
    controller: Controller | None,
    agent: AgentConfig = PUBLISHED,
    *,
    turns: int = 20,
    patience: int | None = None,
    repetition: int | None = None,
) -> EpisodeResult:
    limits = Limits(moves=100, turns=turns, patience=patience, repetition=repetition)
    spec = EpisodeSpec(
        id="x", evaluation="e", task="4-2", variation=0, options="easy", seed=0, agent=agent, limits=limits
    )
    return await run_episode(spec, ScriptedEnvironment(), controller, executor)


async def test_the_controller_is_asked_before_every_turn() -> None:
    controller = Controller([["a()"], ["a()"], ["b()"], ["b()"], ["complete_task()"]])
    executor = acting("look around", None, "focus on picture", "pick up picture", "look around")
    result = await play(executor, controller, turns=5)
    assert [turn.subgoal for turn in result.trajectory] == ["a()", "a()", "b()", "b()", "complete_task()"]
    assert all(turn.controller_called for turn in result.trajectory)
    last = executor.asked[-1][0]
    assert (last.completed_subgoals, last.current_subgoal) == (("a()", "b()"), "complete_task()")


async def test_both_models_are_asked_with_the_agents_beams() -> None:
    controller, executor = Controller([["a()"]]), acting("look around")
    await play(executor, controller, turns=2)
    assert {n for _, n in (*controller.asked, *executor.asked)} == {5}
    await play(executor, controller, PUBLISHED.model_copy(update={"beams": 3}), turns=2)
    assert {controller.asked[-1][1], executor.asked[-1][1]} == {3}


async def test_the_sub_goal_ends_if_any_beam_says_so() -> None:
    executor = Executor([["look around", "wait1", None]])
    result = await play(executor, Controller([["a()"]]), turns=1)
    turn = result.trajectory[0]
    assert (turn.action, turn.moves, result.actions) == (None, 0, 0)


async def test_the_flat_agent_ignores_the_end_of_a_sub_goal() -> None:
    result = await play(Executor([["look around", None]]), None, FLAT, turns=1)
    assert actions_of(result) == ["look around"]


async def test_an_ended_subgoal_is_a_turn_of_the_next_state() -> None:
    executor = acting("teleport to kitchen", None, "look around")
    await play(executor, Controller([["a()"], ["a()"], ["b()"]]), turns=3)
    state = executor.asked[-1][0]
    assert [(turn.action, turn.observation) for turn in state.turns] == [
        ("teleport to kitchen", "You teleport to the kitchen."),
        (None, "You teleport to the kitchen."),
    ]
    assert (state.step, state.ended_subgoals) == (3, 1)


async def test_the_same_action_may_be_taken_again_and_again() -> None:
    result = await play(acting("look around"), Controller([["navigate_to(hallway)"]]), turns=6)
    assert actions_of(result) == ["look around"] * 6
    assert result.model_calls == 12


async def test_the_published_policy_takes_risky_focuses() -> None:
    result = await play(acting("focus on orange"), Controller([["focus_on(orange)"]]))
    assert (result.stopped, result.raw_score, result.score) == ("failed", -100, 0)


async def test_the_subgoals_action_does_not_replace_the_executors() -> None:
    executor = acting("focus on picture", "pick up picture", "teleport to kitchen", "move picture to kitchen")
    result = await play(executor, Controller([["move(picture, red box)"]]), turns=4)
    assert actions_of(result)[-1] == "move picture to kitchen"


async def test_an_unknown_action_becomes_the_most_similar_valid_one() -> None:
    result = await play(acting("pick up large red picture"), Controller([["a()"]]), turns=1)
    turn = result.trajectory[0]
    assert (turn.proposed, turn.action, turn.repaired, turn.known) == (
        "pick up large red picture",
        "pick up picture",
        True,
        True,
    )
    assert turn.logprob == -1.0


async def test_a_valid_beam_comes_before_a_similar_action() -> None:
    executor = Executor([["pick up large picture", "teleport to kitchen"]])
    result = await play(executor, Controller([["a()"]]), turns=1)
    assert actions_of(result) == ["teleport to kitchen"]
    assert result.model_calls == 2


async def test_without_repair_an_unknown_action_stays_and_ends_nothing() -> None:
    executor = acting("pick up large red picture", "look around")
    agent = PUBLISHED.model_copy(update={"repair": False})
    result = await play(executor, Controller([["a()"]]), agent, turns=2)
    assert [turn.known for turn in result.trajectory] == [False, True]
    assert executor.asked[-1][0].ended_subgoals == 0


async def test_fifty_turns_without_a_change_of_score_end_it() -> None:
    executor = acting("focus on picture", *(["look around"] * 100))
    result = await play(executor, Controller([["a()"]]), turns=200, patience=50)
    assert (result.stopped, result.turns) == ("patience", 51)


@pytest.mark.parametrize(
    ("actions", "stops"),
    [(("look around", "wait1"), True), (("look around",), False), (("look around", "wait1", "inventory"), False)],
)
async def test_the_flat_agent_stops_at_exactly_two_actions(actions: tuple[str, ...], stops: bool) -> None:
    cycle = [actions[place % len(actions)] for place in range(12)]
    result = await play(acting(*cycle), None, FLAT, turns=12, repetition=10)
    assert (result.stopped, result.turns) == (("patience", 10) if stops else ("turns", 12))


async def test_a_solved_episode_is_completed() -> None:
    result = await play(acting(*SOLUTION), Controller([["a()"]]))
    assert (result.stopped, result.score) == ("completed", 100)


# --- how it is named -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subgoals", ["oracle", "random", "semi_random", "llm_plan"])
def test_the_published_policy_takes_sub_goals_from_no_other_source(subgoals: str) -> None:
    with pytest.raises(ValidationError, match="needs the sub-goals `controller` or `none`"):
        AgentConfig.model_validate({"policy": "published", "subgoals": subgoals})


def test_beams_can_be_chosen_and_repair_switched_off() -> None:
    (agent,) = find_agents(["published"], repair=False, beams=1)
    assert (agent.beams, agent.repair, agent.policy) == (1, False, "published")
    assert name_of(agent) == "published, beams 1, no repair"


def test_each_agent_is_called_by_its_own_name() -> None:
    assert {name: name_of(agent) for name, agent in AGENTS.items()} == {name: name for name in AGENTS}


@pytest.mark.parametrize("beams", [0, 17, -1])
def test_an_impossible_beam_width_is_refused(beams: int) -> None:
    with pytest.raises(InvalidInput, match=f"from 1 to 16; got {beams}"):
        find_agents(["published"], beams=beams)


# --- the replacement -----------------------------------------------------------------------------------------

LOOK = "This room is called the kitchen. In it, you see: \n\ta metal pot\n\tan orange\n"
VALID = ("pick up metal pot", "pick up orange", "focus on orange", "move metal pot to stove", "close door to hallway")


def replaced(*proposed: str, recent: tuple[str, ...] = ()) -> str | None:
    return most_similar(proposed, VALID, recent, LOOK, "In your inventory, you see:\n\ta Thermometer\n")


def test_most_shared_words_win() -> None:
    assert replaced("move iron pot to stove") == "move metal pot to stove"


def test_the_shortest_of_equals_wins() -> None:
    assert replaced("pick up apple") == "pick up orange"


def test_recent_actions_are_not_chosen() -> None:
    assert replaced("pick up the orange", recent=("pick up orange",)) == "pick up metal pot"


def test_doors_are_only_opened() -> None:
    assert replaced("close door to hallway now") == "open door to hallway"


def test_a_focus_on_unseen_things_is_no_candidate() -> None:
    replacement = most_similar(["focus on steel pot"], ["focus on metal pot", "look at steel pot"], (), "an orange", "")
    assert replacement == "look at steel pot"


def test_an_action_that_shares_no_word_is_not_replaced() -> None:
    assert replaced("xyzzy") is None


def test_green_house_is_written_as_the_candidates_write_it() -> None:
    assert replaced("fly", "open door to green house") == "open door to greenhouse"
