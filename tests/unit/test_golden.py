"""Every prompt and target that the published code computes, byte for byte.

`WAYMARK_GOLDEN=FILE ./run test -k golden` compares another file of the same form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.answers import action_answer, subgoal_answer
from tests.golden_episodes import END, Episode, golden, name, recorded
from training import datasets
from training.datasets import ControllerExamples
from training.worlds.scienceworld import published_examples
from waymark.agent.episode_loop import RequestLimits, run_episode
from waymark.agent.named_agents import AGENTS
from waymark.agent.prompt import write_prompt
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    EpisodeSpec,
    Limits,
    Opening,
    Role,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.worlds.base import Step
from waymark.worlds.registry import get_format

pytestmark = pytest.mark.anyio

episodes = pytest.mark.parametrize("episode", golden(), ids=name)


# --- training data as published ------------------------------------------------------------------------------


def published_rows(
    episode: Episode, role: Role, prompt_format: str = "seed", *, flat_ends: bool = False
) -> list[tuple[str, str]]:
    path, annotation = recorded(episode)
    examples = published_examples.examples(
        [path], {path.key: annotation}, role, get_format(prompt_format), flat_ends=flat_ends
    )
    return [(example.prompt, example.target) for example in examples]


def columns(rows: Sequence[dict[str, str]], *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@episodes
def test_golden_executor_dataset_is_reproduced(episode: Episode) -> None:
    assert published_rows(episode, "executor") == columns(episode["dataset"], "executor_input", "executor_target")


@episodes
def test_golden_controller_dataset_is_reproduced(episode: Episode) -> None:
    expected = columns(episode["dataset"], "controller_input", "controller_target")
    assert published_rows(episode, "controller", "seed-imported") == expected


@episodes
def test_golden_controller_dataset_of_the_test_twin_is_reproduced(episode: Episode) -> None:
    expected = columns(episode["dataset"], "controller_test_input", "controller_target")
    assert published_rows(episode, "controller") == expected


@episodes
def test_golden_flat_dataset_with_ended_sub_goals_is_reproduced(episode: Episode) -> None:
    assert published_rows(episode, "flat", flat_ends=True) == columns(episode["dataset"], "flat_input", "flat_target")


@episodes
def test_golden_flat_dataset_is_reproduced(episode: Episode) -> None:
    assert published_rows(episode, "flat") == columns(episode["flat"], "input", "target")


@episodes
def test_golden_rows_are_numbered_from_one(episode: Episode) -> None:
    steps = published_examples.align(*recorded(episode))
    assert [row.place for row in published_examples.rows(episode["task_description"], steps)] == [
        row["i"] for row in episode["dataset"]
    ]
    assert [step.action or END for step in steps] == [step["action"] for step in episode["steps"]]


@episodes
def test_golden_alignment_is_reproduced(episode: Episode) -> None:
    steps = published_examples.align(*recorded(episode))
    for ours, theirs in zip(steps, episode["steps"], strict=True):
        assert {**theirs, "action": None if theirs["action"] == END else theirs["action"]} == vars(ours)


# --- what the loop sends -------------------------------------------------------------------------------------


@dataclass
class Replayed:
    """Environment, controller and executor of a recorded episode; keeps what it was asked, as it crosses the wire."""

    episode: Episode
    taken: int = 0
    asked: dict[str, list[AgentState]] = field(default_factory=lambda: {"controller": [], "executor": []})

    def __post_init__(self) -> None:
        self.path, _ = recorded(self.episode)

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        return Opening(task=self.path.task, look=self.path.look, inventory=self.path.inventory)

    def step(self, action: str) -> Step:
        step = self.path.steps[self.taken]
        assert action == step.action
        self.taken += 1
        done = self.taken == len(self.path.steps)
        return Step(step.observation, step.look, step.inventory, step.score, self.taken, done, known=True)

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        raise NotImplementedError

    def valid_actions(self) -> list[str]:
        raise NotImplementedError

    def close(self) -> None:
        pass

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        subgoal = self.episode["steps"][len(self.asked["controller"])]["subgoal"]
        self.asked["controller"].append(wired(state))
        return subgoal_answer(SubgoalAlternative(subgoal=subgoal, logprob=-1, mean_logprob=-1), model=model)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        text = self.episode["steps"][len(self.asked["executor"])]["action"]
        self.asked["executor"].append(wired(state))
        action = None if text == END else text
        alternative = ActionAlternative(action=action, ended_subgoal=action is None, logprob=-1, mean_logprob=-1)
        return action_answer(alternative, model=model)


def wired(state: AgentState) -> AgentState:
    return AgentState.model_validate_json(state.model_dump_json())


async def played(episode: Episode) -> Replayed:
    replayed = Replayed(episode)
    spec = EpisodeSpec(
        id="golden",
        evaluation="golden",
        task=episode["task"],
        variation=episode["variation"],
        options="easy",
        seed=0,
        agent=AGENTS["published"],
        limits=Limits(moves=10_000, turns=20_000),
    )
    request_limits = RequestLimits(history_turns=get_format("seed").history_turns)
    result = await run_episode(spec, replayed, replayed, replayed, request_limits=request_limits)
    assert (result.error, result.turns) == (None, len(episode["steps"]))
    return replayed


def prompts(states: Sequence[AgentState], role: Role, prompt_format: str = "seed") -> list[str]:
    return [write_prompt(get_format(prompt_format), role, state) for state in states]


@episodes
async def test_golden_prompts_of_the_published_agent_are_reproduced(episode: Episode) -> None:
    states = (await played(episode)).asked
    entries, later = episode["evaluation"], episode["evaluation"][1:]
    assert prompts(states["executor"], "executor") == [entry["executor_input"] for entry in entries]
    assert prompts(states["controller"][:1], "first") == [episode["first_input"]]
    assert prompts(states["controller"][1:], "controller") == [entry["controller_input"] for entry in later]
    imported = [entry["controller_input_as_imported"] for entry in later]
    assert prompts(states["controller"][1:], "controller", "seed-imported") == imported


@episodes
@pytest.mark.parametrize("controller", ["every-step", "on-end"])
def test_golden_prompts_are_those_of_our_datasets(episode: Episode, controller: ControllerExamples) -> None:
    path, annotation = recorded(episode)
    named, seed = {path.key: annotation}, get_format("seed")
    steps, entries = episode["steps"], episode["evaluation"]
    executor = datasets.examples([path], named, "executor", seed)
    assert [example.prompt for example in executor] == [entry["executor_input"] for entry in entries]
    assert [example.target for example in executor] == [seed.target("executor", _action(step)) for step in steps]
    controller_rows = datasets.examples([path], named, "controller", seed, controller)[1:-1]
    wanted = [
        (entry["controller_input"], step["subgoal"])
        for entry, step, last in zip(entries[1:], steps[1:], steps, strict=False)
        if controller == "every-step" or last["action"] == END
    ]
    assert [(controller_row.prompt, controller_row.target) for controller_row in controller_rows] == wanted
    first = datasets.examples([path], named, "first", seed)
    assert [(example.prompt, example.target) for example in first] == [(episode["first_input"], steps[0]["subgoal"])]


def _action(step: dict[str, str]) -> str | None:
    return None if step["action"] == END else step["action"]
