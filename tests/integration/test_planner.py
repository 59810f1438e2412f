"""The agent that asks a large model for its plan, against a real server that speaks chat completions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests import samples
from tests.chat_server import ChatServer
from tests.commands import SCRIPTED, Command
from waymark.agent.episode_loop import run_episode
from waymark.clients.chat import ChatClient, Endpoint, Limits
from waymark.contracts import ActionResponse, AgentConfig, AgentState, EpisodeResult, Timing, Usage
from waymark.evaluation.run_folder import RunFolder
from waymark.worlds.scripted.environment import ScriptedEnvironment

pytestmark = pytest.mark.anyio
KEY = "sk-very-secret"
PLAN = "1. navigate_to(kitchen)\n2. pick_up(cup)"
LIMITS = Limits(attempts=2, timeout=0.5, first_pause=0.01)


class Planner(ChatServer):
    """A model that answers as `behaviour` says."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviour = "good"
        self.asked: list[dict[str, Any]] = []

    async def _complete(self, request: Request) -> Response:
        self.asked.append(await request.json())
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return PlainTextResponse("Incorrect API key", 401)
        if self.behaviour == "silent":
            await asyncio.sleep(60)
        if self.behaviour == "busy once" and len(self.asked) == 1:
            return PlainTextResponse("slow down", 429, {"retry-after": "0"})
        if self.behaviour == "failing":
            return PlainTextResponse("the backend is down", 503)
        if self.behaviour == "no completion":
            return JSONResponse({"choices": []})
        text = "Just boil it." if self.behaviour == "planless" else PLAN
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 900, "completion_tokens": 20}})


@pytest.fixture
def server() -> Iterator[Planner]:
    with Planner() as running:
        yield running


class Executor:
    """Ends every sub-goal at once, or does nothing in particular."""

    async def action(self, state: AgentState, **_: object) -> ActionResponse:
        done = state.current_subgoal is not None and state.step > (state.subgoal_step or 0)
        return ActionResponse(
            action=None if done else "look around",
            ended_subgoal=done,
            alternatives=(),
            model="default",
            usage=Usage(prompt_tokens=10, completion_tokens=2),
            timing_ms=Timing(queue=0, model=0, total=0),
        )


async def play(server: Planner, *, key: str = KEY) -> EpisodeResult:
    spec = samples.spec(AgentConfig(subgoals="llm_plan"), moves=20, turns=6)
    endpoint = Endpoint(server.url, "large", key, {"temperature": 0}, "WAYMARK_PLANNER")
    async with ChatClient(endpoint, LIMITS) as planner:
        return await run_episode(spec, ScriptedEnvironment(), None, Executor(), planner=planner)


@pytest.mark.parametrize("behaviour", ["good", "busy once"])
async def test_a_plan_that_comes_is_followed(server: Planner, behaviour: str) -> None:
    server.behaviour = behaviour
    result = await play(server)
    assert result.error is None
    assert [turn.subgoal for turn in result.trajectory][::2] == [
        "navigate_to(kitchen)",
        "pick_up(cup)",
        "complete_task()",
    ]
    assert result.tokens == 920 + 4 * 12
    assert (server.asked[-1]["model"], server.asked[-1]["temperature"]) == ("large", 0)


@pytest.mark.parametrize(
    ("behaviour", "kind", "says", "tries"),
    [
        ("planless", "PlanUnreadable", "Just boil it.", 1),
        ("no completion", "PlannerFailed", "no chat completion", 2),
        ("failing", "PlannerFailed", "the backend is down", 2),
        ("silent", "PlannerFailed", "did not answer within 0.5 seconds", 2),
    ],
)
async def test_a_plan_that_does_not_come_is_the_episodes_error(
    server: Planner, behaviour: str, kind: str, says: str, tries: int
) -> None:
    server.behaviour = behaviour
    result = await play(server)
    assert result.error is not None
    assert (result.stopped, result.score, result.error.kind) == ("error", 0, kind)
    assert says in result.error.message
    assert len(server.asked) == tries


async def test_a_refused_key_is_reported_and_not_shown(server: Planner) -> None:
    result = await play(server, key="sk-wrong")
    assert result.error is not None
    assert result.error.kind == "PlannerFailed"
    assert "Check the key" in result.error.message
    assert "sk-wrong" not in result.error.message


def test_several_agents_are_compared_with_one_plan_an_episode(
    server: Planner, waymark: Callable[..., Command], tmp_path: Path
) -> None:
    settings = {"WAYMARK_PLANNER_URL": server.url, "WAYMARK_PLANNER_MODEL": "large", "WAYMARK_PLANNER_KEY": KEY}
    agents = ("--agent", "oracle,llm_plan", "--agent", "random")
    command = waymark("evaluate", *SCRIPTED, *agents, "--tasks", "1-1,4-2", "--json", settings=settings)
    code, out, err = command.wait()
    assert code == 0, err
    document = json.loads(out)
    played = [evaluation["agent"]["subgoals"] for evaluation in document["evaluations"]]
    assert played == ["oracle", "llm_plan", "random"]
    assert [agent["name"] for agent in document["comparison"]["agents"]] == ["oracle", "llm_plan", "random"]
    assert document["comparison"]["variations"] == 2
    assert len(server.asked) == 2

    runs = [tmp_path / "runs" / evaluation["evaluation"] for evaluation in document["evaluations"]]
    for result in RunFolder(runs[1]).results():
        assert result.trajectory[0].subgoal == "navigate_to(kitchen)"
        assert result.versions is not None
        assert result.versions.planner == f"large at {server.url}"
        assert result.versions.controller is None
    assert KEY not in err + (runs[1] / "evaluation.json").read_text()

    code, out, err = waymark("compare", *map(str, runs), "--json").wait()
    assert code == 0, err
    assert json.loads(out) == document["comparison"]


def test_without_a_planner_no_agent_is_played(waymark: Callable[..., Command], tmp_path: Path) -> None:
    code, out, err = waymark("evaluate", *SCRIPTED, "--agent", "random,llm_plan").wait()
    assert (code, out) == (2, "")
    assert "WAYMARK_PLANNER_URL" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "runs").glob("*/episodes.jsonl"))
