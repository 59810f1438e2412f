"""What every registered world must do: the conformance suite of `waymark.worlds.base.World`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from waymark.contracts import AgentState, Role, Turn
from waymark.errors import InvalidInput, UnparsableAction
from waymark.worlds.base import COMPLETE, SOLVED, SPLITS, Environment, EnvironmentLimits, PathStep, TaskType, World
from waymark.worlds.registry import WORLD_NAMES, get_format, get_world

ROLES: tuple[Role, ...] = ("controller", "first", "executor", "flat")
PLAYED = {"scienceworld": ("4-2", "3-1"), "scripted": ("4-2",), "textworld-express": ("coin", "peckingorder", "twc")}
"""Tasks whose oracle path is played: short ones."""


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


def test_an_environment_refuses_what_the_world_lacks(world: World, environment: Environment) -> None:
    task = world.tasks[0]
    for arguments in (("nothing", 0, world.default_options), (task.id, 10**9, world.default_options)):
        with pytest.raises(InvalidInput):
            environment.reset(*arguments)
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
    task = tasks_of(world)[0]
    openings = [environment.reset(task.id, task.split("dev")[0], world.default_options) for _ in range(2)]
    assert openings[0].task == openings[1].task
    assert world.room_of(openings[0].look) == world.room_of(openings[1].look)


def test_an_unknown_action_changes_nothing_and_says_so(world: World, environment: Environment) -> None:
    task = tasks_of(world)[0]
    opening = environment.reset(task.id, task.split("train")[0], world.default_options)
    step = environment.step("frobnicate the quux")
    assert (step.known, step.completed, step.score) == (False, False, 0)
    assert step.look == opening.look


def test_every_valid_action_survives_the_grammar(world: World, environment: Environment) -> None:
    for task in tasks_of(world):
        environment.reset(task.id, task.split("train")[0], world.default_options)
        valid = environment.valid_actions()
        assert valid
        for action in valid:
            assert world.grammar.plain(world.grammar.formal(action)) == action
        assert environment.step(valid[0]).known


def test_text_that_is_no_action_is_refused_by_the_grammar(world: World) -> None:
    for text in ("", "frobnicate the quux", "QUUX(", "("):
        with pytest.raises(UnparsableAction):
            world.grammar.plain(text)


def test_the_annotator_covers_every_oracle_path(world: World, environment: Environment) -> None:
    for task in tasks_of(world):
        path = path_of(world, environment, task)
        opening = environment.reset(task.id, task.split("train")[0], world.default_options)
        steps = [PathStep(action, environment.step(action).observation) for action in path]
        segments = world.annotate(opening.task, steps)
        assert segments[-1].subgoal == COMPLETE
        assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
        assert segments[-2].stop == len(path)


def test_prompts_render_and_decisions_come_back(world: World, environment: Environment) -> None:
    task = tasks_of(world)[0]
    path = path_of(world, environment, task)
    opening = environment.reset(task.id, task.split("train")[0], world.default_options)
    step = environment.step(path[0])
    state = AgentState(
        task=opening.task,
        look=step.look,
        inventory=step.inventory,
        observation=step.observation,
        step=2,
        turns=(Turn(action=path[0], observation=step.observation),),
        current_subgoal=world.annotate(opening.task, [PathStep(path[0], step.observation)])[0].subgoal,
    )
    for form in world.formats:
        assert get_format(form.name) is form
        for role in ROLES:
            assert form.render(role, state)
        assert form.parse("executor", form.target("executor", None)) is None
        subgoal = str(state.current_subgoal)
        assert form.parse("controller", form.target("controller", subgoal)) == subgoal
