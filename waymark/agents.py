"""Agents by name: how the command line calls them, and how tables do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from waymark.contracts import AgentConfig
from waymark.errors import InvalidInput

AGENTS: Final[Mapping[str, AgentConfig]] = {
    "hierarchical": AgentConfig(),
    "every_step": AgentConfig(controller_calls="every_step"),
    "flat": AgentConfig(subgoals="none", executor_model="flat"),
    "oracle": AgentConfig(subgoals="oracle"),
    "random": AgentConfig(subgoals="random"),
    "semi_random": AgentConfig(subgoals="semi_random"),
    "llm_plan": AgentConfig(subgoals="llm_plan"),
}
"""Controller and executor, asked on end or at every step; one model without sub-goals; the executor with sub-goals
from elsewhere (see `AgentConfig.subgoals`)."""


def find_agents(names: Sequence[str], *, repair: bool = True) -> list[AgentConfig]:
    """The agents of these names, each once; a name may hold several between commas. Raises InvalidInput (`agent`)."""
    every = dict.fromkeys(name.strip() for text in names for name in text.split(",") if name.strip())
    unknown = [name for name in every if name not in AGENTS]
    if unknown or not every:
        raise InvalidInput(
            f"Unknown agent {unknown[0]!r}." if unknown else "No agent is named.",
            remedy=f"Agents are {', '.join(AGENTS)}.",
            field="agent",
        )
    return [AGENTS[name].model_copy(update={"repair": repair}) for name in every]


def name_of(agent: AgentConfig) -> str:
    """What tables call an agent: the name of the one that it is or is nearest to, and how it differs from that.

    >>> name_of(AgentConfig(repair=False, executor_model="large"))
    'hierarchical, executor large, no repair'
    """
    alike = [name for name, known in AGENTS.items() if known.subgoals == agent.subgoals]
    same = [name for name in alike if AGENTS[name].controller_calls == agent.controller_calls]
    name = (same or alike)[0]
    known = AGENTS[name]
    differences = {
        "every step": agent.controller_calls != known.controller_calls,
        f"controller {agent.controller_model}": agent.controller_model != known.controller_model,
        f"executor {agent.executor_model}": agent.executor_model != known.executor_model,
        "no repair": not agent.repair,
    }
    return ", ".join([name, *(words for words, differs in differences.items() if differs)])
