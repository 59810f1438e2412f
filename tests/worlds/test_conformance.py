"""What every registered world must do: the conformance suite of `waymark.worlds.base.World`."""

from __future__ import annotations

import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

import pytest

from tests.samples import spec
from tests.scripted_agent import Controller, Executor, Planner
from training.worlds.registry import TRAINING_WORLDS
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS
from waymark.agent.state import StateFold
from waymark.agent.subgoal_sources import check_source
from waymark.contracts import AgentState, Opening, Role
from waymark.errors import EnvironmentFault, InvalidInput, UnparsableAction
from waymark.operating_system import process_tree
from waymark.operating_system.memory import resident_mb
from waymark.worlds.base import (
    COMPLETE,
    SOLVED,
    SPLITS,
    Environment,
    EnvironmentLimits,
    PathStep,
    PromptFormat,
    Step,
    TaskType,
    World,
)
from waymark.worlds.registry import WORLD_NAMES, get_format, get_world, world_of_task

ROLES: tuple[Role, ...] = ("controller", "first", "executor", "flat")
PLAYED = {
    "scienceworld": ("4-2", "3-1"),
    "scripted": ("4-2",),
    "textworld-express": (
        "coin",
        "peckingorder",
        "twc",
        "cookingworld",
        "mapreader",
        "arithmetic",
        "sorting",
        "simonsays",
    ),
}
"""Tasks whose oracle path is played: short ones, and of TextWorldExpress all."""
HANGS_AFTER = 5.0
"""Seconds after which a simulator that does not answer is taken for hung."""
EPISODES = 12
LEFT_BEHIND = 100_000
"""Bytes that half of these episodes may leave in this process."""
WEB_PAGE = "Free shipping on all orders over $35! Add to cart. Kitchen & Dining > Thermometers. 4.7 out of 5 stars"
CHAT = "Hi there! Can you help me to move the couch out of the kitchen? You are in the way :-)"


@pytest.fixture(scope="module", params=WORLD_NAMES)
def world(request: pytest.FixtureRequest) -> World:
    return get_world(request.param)


@pytest.fixture(scope="module")
def environment(world: World) -> Iterator[Environment]:
    opened = world.open(EnvironmentLimits())
    yield opened
    opened.close()


def tasks_of(world: World) -> list[TaskType]:
    return [world.find_task(name) for name in PLAYED[world.name]]


def path_of(world: World, environment: Environment, task: TaskType) -> list[str]:
    variation = task.split("train")[0]
    return environment.gold_path(task.id, variation, world.default_options)


def test_tasks_have_unique_ids_and_whole_splits(world: World) -> None:
    assert len({task.id for task in world.tasks}) == len(world.tasks)
    for task in world.tasks:
        assert task.group in world.groups
        assert [number for split in SPLITS for number in task.split(split)] == list(range(task.variations))
        assert all(task.split_of(number) == split for split in SPLITS for number in task.split(split)[:3])


def test_unknown_names_are_refused_with_those_there_are(world: World) -> None:
    with pytest.raises(InvalidInput, match=world.tasks[0].id):
        world.find_task("no such task")
    with pytest.raises(InvalidInput, match="0 to"):
        world.check_variation(world.tasks[0], 10**9)
    for options in ("nonsense", "a=b=c", "x" * 10_000):
        with pytest.raises(InvalidInput):
            world.check_options(options, world.tasks[:1])
    world.check_options(world.default_options, world.tasks)


def test_protocols_choose_variations_that_exist(world: World) -> None:
    for name, protocol in world.protocols.items():
        assert name == protocol.name
        assert all(set(protocol.variations_of(task)) <= set(task.split(protocol.split)) for task in world.tasks)


def test_published_scores_name_tasks_of_the_world(world: World) -> None:
    scores = world.published
    assert set(scores.tasks) <= {task.id for task in world.tasks}
    assert all(set(columns) == set(scores.columns) for columns in scores.tasks.values())
    assert all(agent.provenance for agent in scores.agents)


def test_an_environment_refuses_unknown_tasks_and_options(world: World, environment: Environment) -> None:
    task = world.tasks[0]
    for arguments in (("nothing", 0, world.default_options), (task.id, 10**9, world.default_options)):
        with pytest.raises(InvalidInput):
            environment.reset(*arguments)
        with pytest.raises(InvalidInput):
            environment.gold_path(*arguments)
    with pytest.raises(InvalidInput):
        environment.reset(task.id, 0, "nonsense")


def test_the_oracle_path_reaches_the_full_score(world: World, environment: Environment) -> None:
    for task in tasks_of(world):
        path = path_of(world, environment, task)
        opening = environment.reset(task.id, task.split("train")[0], world.default_options)
        assert opening.task
        assert opening.look
        moves = 0
        for action in path:
            step = environment.step(action)
            assert step.moves >= moves
            moves = step.moves
            if step.completed:
                break
        assert (step.completed, step.score) == (True, SOLVED), task.id


def test_a_reset_begins_the_same_episode_again(world: World, environment: Environment) -> None:
    """Whatever was played before: task, room, moves and score are those of the beginning."""
    task = tasks_of(world)[0]
    begun, path = task.split("train")[0], path_of(world, environment, task)
    openings, firsts = [], []
    for _ in range(2):
        openings.append(environment.reset(task.id, begun, world.default_options))
        firsts.append(environment.step(path[0]))
        for action in path[1:]:
            environment.step(action)
    assert openings[0].task == openings[1].task
    assert world.room_of(openings[0].look) == world.room_of(openings[1].look)
    assert (firsts[0].moves, firsts[0].score) == (firsts[1].moves, firsts[1].score)


def test_an_unknown_action_changes_nothing(world: World, environment: Environment) -> None:
    task = tasks_of(world)[0]
    opening = environment.reset(task.id, task.split("train")[0], world.default_options)
    step = environment.step("frobnicate the quux")
    assert (step.known, step.completed, step.score) == (False, False, 0)
    assert step.look == opening.look


def test_a_forbidden_action_is_never_valid_nor_taken(world: World, environment: Environment) -> None:
    task = tasks_of(world)[0]
    opening = environment.reset(task.id, task.split("train")[0], world.default_options)
    assert not set(world.forbidden_actions) & set(environment.valid_actions())
    for action in world.forbidden_actions:
        with pytest.raises(UnparsableAction):
            world.grammar.formal(action)
        with suppress(InvalidInput):
            step = environment.step(action)
            assert (step.known, step.look) == (False, opening.look)


def test_every_valid_action_survives_the_grammar(world: World, environment: Environment) -> None:
    for task in tasks_of(world):
        environment.reset(task.id, task.split("train")[0], world.default_options)
        valid = environment.valid_actions()
        assert valid
        for action in valid:
            assert world.grammar.plain(world.grammar.formal(action)) == action
        assert environment.step(valid[0]).known


def test_every_oracle_action_survives_the_grammar(world: World, environment: Environment) -> None:
    for episode in oracle_episodes(world, environment):
        for action, _ in episode.taken:
            assert world.grammar.plain(world.grammar.formal(action)) == action


def test_text_that_is_no_action_is_refused_by_the_grammar(world: World) -> None:
    for text in ("", "frobnicate the quux", "QUUX(", "("):
        with pytest.raises(UnparsableAction):
            world.grammar.plain(text)


def test_the_annotator_covers_every_oracle_path(world: World, environment: Environment) -> None:
    for episode in oracle_episodes(world, environment):
        steps = [PathStep(action, step.observation) for action, step in episode.taken]
        segments = world.annotate(episode.opening.task, steps)
        assert segments[-1].subgoal == COMPLETE
        assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
        assert segments[-2].stop == len(steps)
        assert all(segment.start < segment.stop for segment in segments[:-1])


def test_prompts_render_and_decisions_come_back(world: World, environment: Environment) -> None:
    """At every step of oracle paths, in every format. Formats write in lower case; the environments do not mind."""
    for episode in oracle_episodes(world, environment):
        steps = [PathStep(action, step.observation) for action, step in episode.taken]
        segments = world.annotate(episode.opening.task, steps)
        subgoals = {place: segment.subgoal for segment in segments for place in range(segment.start, segment.stop)}
        for place, recorded in enumerate(states_of(world, episode)[:-1]):
            state = recorded.model_copy(update={"current_subgoal": subgoals[place]})
            for form in world.formats:
                assert get_format(form.name) is form
                assert all(form.render(role, state) for role in ROLES)
                assert form.parse("executor", form.target("executor", None)) is None
                assert returned(form, "controller", subgoals[place]) == subgoals[place].casefold()
                if form.name.startswith(("compact", "textworld", "transcript")):
                    assert returned(form, "executor", episode.taken[place][0]) == episode.taken[place][0].casefold()


def returned(form: PromptFormat, role: Role, decision: str) -> str:
    """A decision once it was written and read again, whatever its case."""
    return (form.parse(role, form.target(role, decision)) or "").casefold()


def test_the_world_recognises_its_own_states_and_no_others(world: World, environment: Environment) -> None:
    """docs/decisions/0252 has the rate over all recorded states."""
    for episode in oracle_episodes(world, environment):
        states = states_of(world, episode)
        assert all(map(world.recognises, states))
        for text in (WEB_PAGE, CHAT, ""):
            foreign = states[0].model_copy(update={"task": "Buy a kitchen thermometer.", "look": text})
            assert not world.recognises(foreign)


def test_the_same_actions_give_the_same_episode(world: World, environment: Environment) -> None:
    if world.randomness:
        pytest.skip(f"{world.title} promises no determinism")
    for episode, task in zip(oracle_episodes(world, environment), tasks_of(world), strict=True):
        assert environment.reset(task.id, task.split("train")[0], world.default_options) == episode.opening
        assert [environment.step(action) for action, _ in episode.taken] == [step for _, step in episode.taken]


def fault_after(
    number: signal.Signals, world: World, limits: EnvironmentLimits | None = None
) -> tuple[float, set[int]]:
    """How long a reset takes to fail once a simulator's processes got a signal, and which of them still run then."""
    before = children()
    opened = world.open(limits or EnvironmentLimits())
    started = children() - before
    try:
        if not started:
            pytest.skip(f"{world.title} starts no process")
        task = world.tasks[0]
        for pid in started:
            os.kill(pid, number)
        began = time.monotonic()
        with pytest.raises(EnvironmentFault, match="Play the episode again; it gets a fresh simulator"):
            opened.reset(task.id, task.split("train")[0], world.default_options)
        return time.monotonic() - began, children() & started
    finally:
        opened.close()


def test_a_simulator_that_dies_is_an_environment_fault(world: World) -> None:
    fault_after(signal.SIGKILL, world)


def test_a_simulator_that_hangs_is_ended_at_its_time_limit(world: World) -> None:
    seconds, running = fault_after(signal.SIGSTOP, world, EnvironmentLimits(timeout=HANGS_AFTER))
    assert seconds >= HANGS_AFTER
    assert not running


def test_a_simulator_over_its_memory_limit_is_ended(world: World) -> None:
    if not world.packages:
        pytest.skip(f"{world.title} has no simulator")
    before = children()
    with pytest.raises(EnvironmentFault, match="grew past 1 MB"):
        open_and_reset(world, EnvironmentLimits(memory_mb=1))
    assert children() <= before


def open_and_reset(world: World, limits: EnvironmentLimits) -> None:
    """Begin one train episode after another."""
    opened = world.open(limits)
    try:
        for variation in world.tasks[0].split("train"):
            opened.reset(world.tasks[0].id, variation, world.default_options)
    finally:
        opened.close()


def test_many_episodes_leave_no_memory_behind(world: World, environment: Environment) -> None:
    """Neither here nor in the simulator, whose Java grows up to the size of its heap."""
    task = tasks_of(world)[0]
    path = path_of(world, environment, task)
    used = []
    tracemalloc.start()
    for _ in range(EPISODES):
        environment.reset(task.id, task.split("train")[0], world.default_options)
        for action in path:
            environment.step(action)
        used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert used[-1] - used[EPISODES // 2] < LEFT_BEHIND
    assert all((resident_mb(pid) or 0) < EnvironmentLimits().memory_mb / 2 for pid in children())


def test_a_closed_environment_leaves_no_process(world: World) -> None:
    before = children()
    opened = world.open(EnvironmentLimits())
    opened.close()
    opened.close()
    assert children() <= before


def test_no_two_worlds_share_a_task_unless_they_share_all() -> None:
    """`world_of_task` finds the world of a recorded path by its task."""
    ids = {name: frozenset(task.id for task in get_world(name).tasks) for name in WORLD_NAMES}
    for first, second in combinations(WORLD_NAMES, 2):
        assert ids[first] == ids[second] or not ids[first] & ids[second]
    for name in TRAINING_WORLDS:
        assert {world_of_task(task).name for task in ids[name]} == {name}


@dataclass(frozen=True)
class Episode:
    """An oracle path as it was played."""

    opening: Opening
    taken: tuple[tuple[str, Step], ...]


def oracle_episodes(world: World, environment: Environment) -> list[Episode]:
    """The oracle path of one variation of each task that is played."""
    played = []
    for task in tasks_of(world):
        path = path_of(world, environment, task)
        opening = environment.reset(task.id, task.split("train")[0], world.default_options)
        taken = []
        for action in path:
            step = environment.step(action)
            if step.known:
                taken.append((action, step))
            if step.completed:
                break
        played.append(Episode(opening, tuple(taken)))
    return played


def states_of(world: World, episode: Episode) -> list[AgentState]:
    """The states along an episode, the one before its first action first."""
    opening = episode.opening
    fold = StateFold.start(opening.task, opening.look, opening.inventory, world.agent)
    states = [fold.state]
    for action, step in episode.taken:
        fold.act(action, step.observation, step.look, step.inventory, step.score)
        states.append(fold.state)
    return states


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    return set(process_tree.children(os.getpid()))


WITHOUT = {("textworld-express", source) for source in ("random", "semi_random", "llm_plan")}
"""Worlds and the sources of sub-goals that they lack."""


@pytest.mark.anyio
@pytest.mark.parametrize("name", AGENTS)
async def test_every_agent_plays_or_is_refused_at_the_start(world: World, environment: Environment, name: str) -> None:
    agent = AGENTS[name]
    if (world.name, agent.subgoals) in WITHOUT:
        with pytest.raises(InvalidInput) as refused:
            check_source(agent, world.agent)
        assert refused.value.field == "agent.subgoals"
        return
    check_source(agent, world.agent)
    task = tasks_of(world)[0]
    result = await run_episode(
        spec(agent, task=task.id, variation=task.split("train")[0], turns=3, options=world.default_options),
        environment,
        Controller([["navigate_to(kitchen)"]]),
        Executor([["look around"], ["inventory"]]),
        planner=Planner("1. navigate_to(kitchen)"),
        world=world.agent,
    )
    assert result.error is None
    assert result.turns > 0
