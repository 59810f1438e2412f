"""Episodes that the shipped checkpoints played in the real simulator, recorded call by call, and played again.

`python -m tests.recorded_play` records them anew, with Java and the shipped checkpoints.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.wandering import digest
from waymark.agent.episode_loop import run_episode
from waymark.agent.named_agents import AGENTS
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import (
    ActionResponse,
    AgentConfig,
    AgentState,
    EpisodeResult,
    EpisodeSpec,
    Limits,
    Opening,
    SubgoalResponse,
)
from waymark.serving.app import create_app
from waymark.serving.loaded_models import open_models
from waymark.serving.settings import ServiceSettings
from waymark.worlds.base import Environment, Step

FILE = Path(__file__).parent / "golden" / "play.jsonl.gz"
EPISODES = (
    ("1-3", 17, "hierarchical"),
    ("4-3", 153, "hierarchical"),
    ("10-2", 243, "hierarchical"),
    ("6-3", 21, "flat"),
)
Call = list[Any]
"""What was called, with a digest of its arguments, and what it returned."""


def spec_of(task: str, variation: int, agent: AgentConfig) -> EpisodeSpec:
    return EpisodeSpec(
        id="x",
        evaluation="e",
        task=task,
        variation=variation,
        options="easy",
        seed=0,
        agent=agent,
        limits=Limits(moves=100, turns=60),
    )


class Recorder:
    """Implements the ports over real ones, and keeps every call."""

    def __init__(self, environment: Environment, controller: ControllerClient, executor: ExecutorClient) -> None:
        self._environment, self._controller, self._executor = environment, controller, executor
        self.calls: list[Call] = []

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        opening = self._environment.reset(task_id, variation, options)
        self.calls.append(["reset", opening.model_dump()])
        return opening

    def step(self, action: str) -> Step:
        step = self._environment.step(action)
        self.calls.append([f"step {action}", {name: getattr(step, name) for name in Step.__slots__}])
        return step

    def valid_actions(self) -> list[str]:
        actions = self._environment.valid_actions()
        self.calls.append(["valid", actions])
        return actions

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        raise AssertionError("nobody asks for it")

    def close(self) -> None:
        """The caller closes the real one."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        answer = await self._controller.subgoal(state, n=n, model=model)
        self.calls.append([f"subgoal {n} {digest(state.model_dump_json())}", answer.model_dump(mode="json")])
        return answer

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        answer = await self._executor.action(state, n=n, model=model, valid_actions=valid_actions)
        self.calls.append([_action_call(state, n, valid_actions), answer.model_dump(mode="json")])
        return answer


class Player:
    """Implements the ports with recorded answers: every call must be the recorded one."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = iter(calls)

    def _answer(self, call: str) -> Any:
        recorded, answer = next(self._calls, ("the end of the recording", None))
        assert call == recorded
        return answer

    def reset(self, task_id: str, variation: int, options: str) -> Opening:
        return Opening.model_validate(self._answer("reset"))

    def step(self, action: str) -> Step:
        return Step(**self._answer(f"step {action}"))

    def valid_actions(self) -> list[str]:
        actions: list[str] = self._answer("valid")
        return actions

    def gold_path(self, task_id: str, variation: int, options: str) -> list[str]:
        raise AssertionError("nobody asks for it")

    def close(self) -> None:
        """Nothing is open."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        return SubgoalResponse.model_validate(self._answer(f"subgoal {n} {digest(state.model_dump_json())}"))

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        return ActionResponse.model_validate(self._answer(_action_call(state, n, valid_actions)))

    @property
    def is_at_its_end(self) -> bool:
        """Whether all recorded calls were made."""
        return next(self._calls, None) is None


def _action_call(state: AgentState, n: int, valid_actions: Sequence[str] | None) -> str:
    offered = "any" if valid_actions is None else digest(str(list(valid_actions)))
    return f"action {n} {offered} {digest(state.model_dump_json())}"


def recorded() -> list[dict[str, Any]]:
    """The episodes: task, variation, agent, their calls, and the figures of the result."""
    return [json.loads(line) for line in gzip.decompress(FILE.read_bytes()).splitlines()]


def figures(result: EpisodeResult) -> list[Any]:
    return [result.score, result.turns, result.moves, result.model_calls, result.repaired, result.stopped]


async def replay(episode: dict[str, Any]) -> tuple[EpisodeResult, Player]:
    """Play a recorded episode again."""
    player = Player(episode["calls"])
    spec = spec_of(episode["task"], episode["variation"], AGENTS[episode["agent"]])
    return await run_episode(spec, player, player, player), player


async def record() -> None:
    """Play the episodes with the shipped checkpoints and write them down."""
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

    settings = ServiceSettings()  # the checkpoints that ship
    controller_app = create_app("controller", open_models("controller", settings), settings)
    executor_app = create_app("executor", open_models("executor", settings), settings)
    slot = ScienceWorldSlot()
    lines: list[str] = []
    async with (
        controller_app.router.lifespan_context(controller_app),
        executor_app.router.lifespan_context(executor_app),
    ):
        controller = ControllerClient("http://controller", transport=httpx.ASGITransport(controller_app))
        executor = ExecutorClient("http://executor", transport=httpx.ASGITransport(executor_app))
        for task, variation, name in EPISODES:
            recorder = Recorder(slot, controller, executor)
            result = await run_episode(spec_of(task, variation, AGENTS[name]), recorder, recorder, recorder)
            episode = {"task": task, "variation": variation, "agent": name}
            lines.append(json.dumps({**episode, "figures": figures(result), "calls": recorder.calls}))
    slot.close()
    FILE.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    asyncio.run(record())
