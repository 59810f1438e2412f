"""The named agents of the command line, and the names that tables give to agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from waymark.agent.rules import ALL_RULES, parse_rules
from waymark.contracts import AgentConfig
from waymark.errors import InvalidInput
from waymark.worlds.registry import DEFAULT_WORLD, agent_world

AGENTS: Final[Mapping[str, AgentConfig]] = {
    "hierarchical": AgentConfig(),
    "every_step": AgentConfig(controller_calls="every_step"),
    "flat": AgentConfig(subgoals="none", executor_model="flat"),
    "published": AgentConfig(controller_calls="every_step", policy="published", beams=5, repair_by="similarity"),
    "published_flat": AgentConfig(
        subgoals="none", executor_model="flat", policy="published", beams=5, repair_by="similarity"
    ),
    "oracle": AgentConfig(subgoals="oracle"),
    "oracle_actions": AgentConfig(subgoals="oracle", policy="oracle_actions"),
    "random": AgentConfig(subgoals="random"),
    "semi_random": AgentConfig(subgoals="semi_random"),
    "llm_plan": AgentConfig(subgoals="llm_plan"),
}
"""`hierarchical` and `every_step` differ in when they ask the controller; `flat` has one model and no sub-goals; the
`published` agents play the published loop; `oracle_actions` takes the actions of the simulator's own path and asks no
model; the others give the executor sub-goals from another source (`AgentConfig.subgoals`)."""


DESCRIPTIONS: Final[Mapping[str, str]] = {
    "hierarchical": "Controller and executor. A sub-goal is asked for when the last one has ended.",
    "every_step": "Controller and executor. A sub-goal is asked for at every step.",
    "flat": "One model without sub-goals.",
    "published": "The published loop: no rules of play, 5 beams, repair by similarity.",
    "published_flat": "The published loop with one model and no sub-goals.",
    "oracle": "Sub-goals of the environment's own solution.",
    "oracle_actions": "The actions of the environment's own solution. No model is asked.",
    "random": "Sub-goals drawn at random from the training data.",
    "semi_random": "The controller's sub-goals with other things in them, drawn at random.",
    "llm_plan": "A plan that a large language model writes at the start.",
}
"""A sentence about each agent of `AGENTS`."""
MOST_NAMED: Final = 4
"""With more rules than this, an agent's name gives their number instead of their names."""
MOST_BEAMS: Final = 16
"""The largest `AgentConfig.beams`."""


def find_agents(
    names: Sequence[str],
    *,
    repair: bool = True,
    beams: int | None = None,
    rules: str = ALL_RULES,
    world: str = DEFAULT_WORLD,
) -> list[AgentConfig]:
    """The distinct agents with these names; one text may hold several names, separated by commas.

    `repair=False` leaves out the rules that replace actions; `beams` replaces the agent's own beam width (1 to 16);
    `rules` is `all`, `none`, or names separated by commas. The published agents use no rules, whatever `rules` says.
    Raises InvalidInput (`agent`, `beams`, `agent.rules`).
    """
    chosen_names = dict.fromkeys(name.strip() for text in names for name in text.split(",") if name.strip())
    unknown = [name for name in chosen_names if name not in AGENTS]
    if unknown or not chosen_names:
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
    chosen = parse_rules(rules, agent_world(world))
    changed = ({} if repair else {"repair": False}) | ({} if beams is None else {"beams": beams})
    agents = [AGENTS[name].model_copy(update=changed) for name in chosen_names]
    return [agent.model_copy(update={"rules": chosen}) if agent.policy == "guided" else agent for agent in agents]


def name_of(agent: AgentConfig) -> str:
    """The name of an agent in tables: the name of the most similar known agent, and the differences from it.

    >>> name_of(AgentConfig(repair=False, executor_model="large"))
    'hierarchical, executor large, no repair'
    >>> name_of(AgentConfig(rules=())), name_of(AgentConfig(rules=("in-sight", "well-formed")))
    ('hierarchical, no rules', 'hierarchical, rules in-sight + well-formed')
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
        _rules_as_words(agent): agent.rules is not None,
        f"repair by {agent.repair_by}": agent.repair
        and (agent.repair, agent.repair_by) != (known.repair, known.repair_by),
    }
    return ", ".join([name, *(words for words, differs in differences.items() if differs)])


def _rules_as_words(agent: AgentConfig) -> str:
    if not agent.rules:
        return "no rules"
    return f"rules {' + '.join(agent.rules)}" if len(agent.rules) <= MOST_NAMED else f"{len(agent.rules)} chosen rules"
