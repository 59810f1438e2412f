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
    "published": AgentConfig(controller_calls="every_step", policy="published", beams=5, repair_by="similarity"),
    "published_flat": AgentConfig(
        subgoals="none", executor_model="flat", policy="published", beams=5, repair_by="similarity"
    ),
    "oracle": AgentConfig(subgoals="oracle"),
    "random": AgentConfig(subgoals="random"),
    "semi_random": AgentConfig(subgoals="semi_random"),
    "llm_plan": AgentConfig(subgoals="llm_plan"),
}
"""Controller and executor, asked on end or at every step; one model without sub-goals; both as published; the executor
with sub-goals from elsewhere (see `AgentConfig.subgoals`)."""


MOST_BEAMS: Final = 16
"""Of `AgentConfig.beams`."""


def find_agents(names: Sequence[str], *, repair: bool = True, beams: int | None = None) -> list[AgentConfig]:
    """The agents of these names, each once; a name may hold several between commas.

    `repair=False` switches repairs off; `beams` is another beam width than the agent's own (1 to 16).
    Raises InvalidInput (`agent`, `beams`).
    """
    every = dict.fromkeys(name.strip() for text in names for name in text.split(",") if name.strip())
    unknown = [name for name in every if name not in AGENTS]
    if unknown or not every:
        raise InvalidInput(
            f"Unknown agent {unknown[0]!r}." if unknown else "No agent is named.",
            remedy=f"Agents are {', '.join(AGENTS)}.",
            field="agent",
        )
    if beams is not None and not 1 <= beams <= MOST_BEAMS:
        raise InvalidInput(
            f"The beam width must be from 1 to {MOST_BEAMS}; got {beams}.",
            remedy="1 is greedy decoding; the published loop used 5.",
            field="beams",
        )
    changed = ({} if repair else {"repair": False}) | ({} if beams is None else {"beams": beams})
    return [AGENTS[name].model_copy(update=changed) for name in every]


def name_of(agent: AgentConfig) -> str:
    """What tables call an agent: the name of the one that it is or is nearest to, and how it differs from that.

    >>> name_of(AgentConfig(repair=False, executor_model="large"))
    'hierarchical, executor large, no repair'
    >>> name_of(AGENTS["published"].model_copy(update={"beams": 1}))
    'published, beams 1'
    """
    alike = [name for name, known in AGENTS.items() if known.subgoals == agent.subgoals]
    alike = [name for name in alike if AGENTS[name].policy == agent.policy] or alike
    same = [name for name in alike if AGENTS[name].controller_calls == agent.controller_calls]
    name = (same or alike)[0]
    known = AGENTS[name]
    differences = {
        "every step" if agent.controller_calls == "every_step" else "on end": (
            agent.controller_calls != known.controller_calls
        ),
        f"controller {agent.controller_model}": agent.controller_model != known.controller_model,
        f"executor {agent.executor_model}": agent.executor_model != known.executor_model,
        f"beams {agent.beams}": agent.beams != known.beams,
        "no repair": known.repair and not agent.repair,
        f"repair by {agent.repair_by}": agent.repair
        and (agent.repair, agent.repair_by) != (known.repair, known.repair_by),
    }
    return ", ".join([name, *(words for words, differs in differences.items() if differs)])
