"""A controller, an executor and a planner that give their answers in turn, and episodes played with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.answers import action_answer, subgoal_answer
from tests.samples import spec
from waymark.agent.episode_loop import run_episode
from waymark.clients.chat import Answer, Message
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentConfig,
    AgentState,
    EpisodeResult,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.errors import ServiceError
from waymark.worlds.scripted.environment import ScriptedEnvironment

SOLUTION = ("focus on picture", "pick up picture", "teleport to kitchen", "move picture to red box")
FLAT = AgentConfig(subgoals="none")


@dataclass
class Controller:
    """Gives its answers in turn, each a list of alternatives; the last one again and again."""

    answers: list[list[str]]
    asked: list[tuple[AgentState, int]] = field(default_factory=list)

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)][:n]
        self.asked.append((state, n))
        alternatives = (SubgoalAlternative(subgoal=subgoal, logprob=-1, mean_logprob=-1) for subgoal in answer)
        return subgoal_answer(*alternatives, model=model)


@dataclass
class Executor:
    """The same for actions; None ends the sub-goal. Of given valid actions it likes the first best."""

    answers: list[list[str | None]]
    asked: list[tuple[AgentState, int]] = field(default_factory=list)
    weighed: list[Sequence[str]] = field(default_factory=list)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        if valid_actions is not None:
            self.weighed.append(valid_actions)
            answer: list[str | None] = [valid_actions[0]]
        else:
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)][:n]
            self.asked.append((state, n))
        alternatives = (
            ActionAlternative(action=action, ended_subgoal=action is None, logprob=-1.0, mean_logprob=-0.1)
            for action in answer
        )
        return action_answer(*alternatives, model=model)


def acting(*actions: str | None) -> Executor:
    return Executor([[action] for action in actions])


async def play(
    executor: Executor, controller: Controller | None = None, agent: AgentConfig | None = None, *, turns: int = 20
) -> EpisodeResult:
    chosen = agent or (AgentConfig() if controller else FLAT)
    return await run_episode(spec(chosen, turns=turns), ScriptedEnvironment(), controller, executor)


def actions_of(result: EpisodeResult) -> list[str | None]:
    return [turn.action for turn in result.trajectory]


class Planner:
    """Gives one plan, or the error."""

    def __init__(self, answer: str | ServiceError) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self, messages: Sequence[Message]) -> Answer:
        self.asked += 1
        if isinstance(self.answer, ServiceError):
            raise self.answer
        return Answer(text=self.answer, prompt_tokens=400, completion_tokens=60)
