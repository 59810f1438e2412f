"""The rules that one agent uses: chosen by name, and counted when they act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from waymark.agent.rules.kinds import ReplacementRule, Rule
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig
from waymark.errors import InvalidInput

ALL_RULES: Final = "all"
NO_RULES: Final = "none"
_Kind = TypeVar("_Kind", bound=Rule)


class RuleSet:
    """The rules that one agent uses, and those that acted since they were last taken."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._acted: list[str] = []

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The rules of a kind, in the order in which they are applied."""
        return [rule for rule in self._rules if isinstance(rule, kind)]

    def record(self, *rules: Rule) -> None:
        """Note that these rules acted."""
        self._acted += [rule.name for rule in rules]

    def take_acted(self) -> tuple[str, ...]:
        """The names of the rules that acted since the last call, each once, in the order in which they acted."""
        acted = tuple(dict.fromkeys(self._acted))
        self._acted.clear()
        return acted


def rules_of(agent: AgentConfig, world: AgentWorld) -> RuleSet:
    """The rules that an agent uses in a world. Raises InvalidInput (field `agent.rules`) for an unknown name.

    `AgentConfig.rules` None means all; the policy `published` uses none but the replacement that `repair_by` names.
    """
    if agent.rules is not None:
        check_rules(agent.rules, world)
    guided = agent.policy == "guided"
    return RuleSet(rule for rule in world.rules if _is_used(rule, agent, guided=guided))


def _is_used(rule: Rule, agent: AgentConfig, *, guided: bool) -> bool:
    if isinstance(rule, ReplacementRule) and (not agent.repair or not guided):
        return agent.repair and rule.way == agent.repair_by
    return guided and (agent.rules is None or rule.name in agent.rules)


def check_rules(names: Sequence[str], world: AgentWorld) -> None:
    """Raise InvalidInput (field `agent.rules`) if the world has no rule of one of these names."""
    known = [rule.name for rule in world.rules]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(
            f"Unknown rule {unknown[0]!r}.",
            remedy=f"Rules of {world.name} are {', '.join(known)}. `all` stands for all of them, `none` for none."
            if known
            else f"The world {world.name} has no rules; say `all` or `none`.",
            field="agent.rules",
        )


def parse_rules(text: str, world: AgentWorld) -> tuple[str, ...] | None:
    """The value of `AgentConfig.rules` for `all`, `none`, or names of rules separated by commas.

    Raises InvalidInput (field `agent.rules`) that lists the known names.

    >>> from waymark.worlds.registry import agent_world
    >>> [parse_rules(text, agent_world()) for text in ("all", "none", "well-formed, in-sight")]
    [None, (), ('in-sight', 'well-formed')]
    """
    names = {name.strip() for name in text.split(",")} - {""}
    if names == {ALL_RULES}:
        return None
    if names == {NO_RULES}:
        return ()
    check_rules(sorted(names) or [text], world)
    return tuple(sorted(names))
