"""Prompts and decisions stay byte for byte what they were before rules became named values.

`python -m tests.unit.test_golden_behaviour` writes `tests/golden/behaviour.json` anew: only for an intended change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from tests import samples
from tests.wandering import WanderingEnvironment, WanderingModels, digest
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS
from waymark.agent.prompt import write_prompt
from waymark.agent.replay import moments
from waymark.contracts import AgentConfig, EpisodeResult, Role
from waymark.loadtest.sample_states import sample
from waymark.worlds.registry import get_format

FILE = Path(__file__).parents[1] / "golden" / "behaviour.json"
FORMATS = (
    "seed",
    "seed-imported",
    "compact",
    "transcript",
    "seed-nohistory",
    "seed-imported-nohistory",
    "compact-nohistory",
    "compact-plain",
    "compact-plain-nohistory",
)
PLAYED: dict[str, AgentConfig] = {
    **AGENTS,
    "no_repair": AgentConfig(repair=False),
    "every_step_no_repair": AgentConfig(controller_calls="every_step", repair=False),
    "flat_no_repair": AGENTS["flat"].model_copy(update={"repair": False}),
    "beams": AgentConfig(beams=3),
    "by_similarity": AgentConfig(repair_by="similarity"),
    "oracle_every_step": AgentConfig(subgoals="oracle", controller_calls="every_step"),
}
SEEDS = range(10)
TURN_FIELDS = (
    "turn subgoal controller_called action proposed logprob repaired known ambiguous observation look inventory score "
    "reward moves"
).split()
RESULT_FIELDS = (
    "score raw_score last_nonnegative_score success moves actions turns model_calls tokens repaired unparsed stopped"
).split()


def prompts_of(prompt_format: str, role: Role) -> str:
    """A hash of all prompts of the load test's states."""
    texts = [write_prompt(get_format(prompt_format), role, decision.state) for decision in sample()]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


async def played(agent: AgentConfig, seed: int) -> tuple[EpisodeResult, list[str]]:
    """One wandering episode and what its models were asked."""
    models = WanderingModels(seed)
    spec = samples.spec(agent, moves=10_000, turns=60, seed=seed)
    result = await run_episode(spec, WanderingEnvironment(seed), models, models, planner=models)
    return result, models.asked


def digest_of(result: EpisodeResult, requests: list[str]) -> str:
    """A hash of all that was decided and asked, and of the recorded states."""
    turns = [turn.model_dump(mode="json", include=set(TURN_FIELDS)) for turn in result.trajectory]
    recorded = [(moment.asked, moment.state.model_dump(mode="json")) for moment in moments(result, 40)]
    figures = result.model_dump(mode="json", include=set(RESULT_FIELDS))
    return digest(json.dumps([turns, figures, requests, recorded], sort_keys=True))


def episodes_of(agent: AgentConfig) -> list[str]:
    async def all_seeds() -> list[str]:
        return [digest_of(*await played(agent, seed)) for seed in SEEDS]

    return asyncio.run(all_seeds())


def golden() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


@pytest.mark.parametrize("prompt_format", FORMATS)
@pytest.mark.parametrize("role", get_args(Role))
def test_prompts_of_recorded_states_are_unchanged(prompt_format: str, role: Role) -> None:
    for text in golden()["texts"]:
        if (text["format"], text["role"]) == (prompt_format, role):
            assert write_prompt(get_format(prompt_format), role, sample()[text["state"]].state) == text["prompt"]
    assert prompts_of(prompt_format, role) == golden()["prompts"][f"{prompt_format} {role}"]


@pytest.mark.parametrize("name", PLAYED)
def test_decisions_over_drawn_answers_are_unchanged(name: str) -> None:
    assert episodes_of(PLAYED[name]) == golden()["episodes"][name]


def write() -> None:
    """Record what the code does now."""
    shown = [
        {"format": name, "role": role, "state": at, "prompt": write_prompt(get_format(name), role, sample()[at].state)}
        for name in ("compact", "compact-plain", "transcript")
        for role in get_args(Role)
        for at in (30, 120)
    ]
    document = {
        "prompts": {f"{name} {role}": prompts_of(name, role) for name in FORMATS for role in get_args(Role)},
        "texts": shown,
        "episodes": {name: episodes_of(agent) for name, agent in PLAYED.items()},
    }
    FILE.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write()
