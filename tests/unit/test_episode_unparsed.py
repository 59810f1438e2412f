"""What the loop does with model text that stands for no decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.answers import action_answer, subgoal_answer
from tests.scripted_agent import Controller, acting, actions_of, play
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentConfig,
    AgentState,
    SubgoalAlternative,
    SubgoalResponse,
)

pytestmark = pytest.mark.anyio
FLAT = AgentConfig(subgoals="none")


def unreadable(raw: str) -> ActionAlternative:
    return ActionAlternative(action=None, ended_subgoal=True, parsed=False, raw=raw, logprob=-1.0, mean_logprob=-1.0)


@dataclass
class Mumbling:
    """An executor whose greedy text is no action; of several, the last ones are."""

    readable: Sequence[str]
    asked: list[int] = field(default_factory=list)

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        self.asked.append(n)
        chosen = self.readable[len(state.turns) % len(self.readable)] if self.readable and n > 1 else None
        alternative = (
            unreadable("?")
            if chosen is None
            else ActionAlternative(action=chosen, ended_subgoal=False, logprob=-2.0, mean_logprob=-2.0)
        )
        return action_answer(alternative, model=model)


@pytest.mark.parametrize("agent", [FLAT, AgentConfig(), AgentConfig(repair=False)])
async def test_unreadable_text_is_never_executed(agent: AgentConfig) -> None:
    controller = None if agent.subgoals == "none" else Controller([["find(picture)"]])
    result = await play(Mumbling(()), controller, agent, turns=6)  # type: ignore[arg-type]
    assert (result.stopped, result.turns, result.actions, result.error) == ("turns", 6, 0, None)
    assert {(turn.action, turn.proposed, turn.known) for turn in result.trajectory} == {(None, "?", False)}
    assert result.unparsed == 6


@dataclass
class MumblingController:
    """Names a sub-goal only when it is asked for more than so many."""

    more_than: int
    asked: list[int] = field(default_factory=list)

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        self.asked.append(n)
        parsed = n > self.more_than
        subgoal, raw = ("find(picture)", None) if parsed else ("", "?")
        alternative = SubgoalAlternative(subgoal=subgoal, parsed=parsed, raw=raw, logprob=-1.0, mean_logprob=-1.0)
        return subgoal_answer(alternative, model=model)


async def test_an_unreadable_subgoal_is_never_given() -> None:
    result = await play(acting("look around"), MumblingController(more_than=99), turns=3)  # type: ignore[arg-type]
    assert actions_of(result) == ["wait1"] * 3
    assert not {turn.subgoal for turn in result.trajectory} & {"", "?"}


async def test_blank_text_of_an_older_server_is_never_executed() -> None:
    result = await play(acting(" "), turns=2)
    assert (result.actions, actions_of(result)) == (0, [None, None])
