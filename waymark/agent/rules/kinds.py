"""The kinds of rules, by what they may change, and what a rule knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState

Alternative = tuple[str, float]
"""A sub-goal and its log-probability in nats."""


@dataclass(frozen=True)
class Choice:
    """The moment at which a sub-goal is chosen."""

    state: AgentState
    ended: str | None = None
    """The sub-goal that has just ended. None at the start of an episode and while a sub-goal is under way."""
    here: Mapping[str, int] = field(default_factory=Counter)
    """How often each sub-goal was given in this scene."""


@dataclass(frozen=True)
class Rule:
    """One rule of play. `world` parses scenes and sub-goals for it."""

    world: AgentWorld
    name: ClassVar[str]
    """As `--rules` takes it."""


class SubgoalRule(Rule):
    """A rule about the controller's alternatives. Override the methods that apply; the defaults accept everything."""

    def doubts(self, subgoal: str, choice: Choice) -> bool:
        """Whether the best answer of a controller that was asked for one calls for more alternatives."""
        return False

    def keep(self, alternatives: list[Alternative], choice: Choice) -> list[Alternative]:
        """The alternatives that may be followed, in the same order."""
        return alternatives

    def refuses(self, subgoal: str, choice: Choice) -> bool:
        """Whether the sub-goal may not be followed while there is another one."""
        return False

    def is_spent(self, subgoal: str, choice: Choice) -> bool:
        """Whether the sub-goal is followed only if all others are refused or spent too."""
        return False

    def wants_more(self, subgoal: str, choice: Choice) -> bool:
        """Whether the sub-goal that was chosen calls for as many alternatives as the controller gives."""
        return False


class ActionRule(Rule):
    """A rule about the executor's actions."""

    def allows(self, action: str, taken: Collection[str]) -> bool:
        """Whether the action may be taken. `taken` are the actions taken before in this scene for this sub-goal."""
        return True


class EndRule(Rule):
    """A rule that ends the sub-goal under way before a turn, without asking the executor."""

    def is_over(self, state: AgentState) -> bool:
        """Whether the sub-goal under way has nothing more to do."""
        return False


@dataclass
class ProposedAction:
    """An action that may be replaced, with functions that find another one."""

    proposed: Sequence[str]
    """The executor's actions, best first. The first is the one to replace."""
    state: AgentState
    recent: Sequence[str]
    """All actions of the episode, oldest first."""
    valid: Callable[[], Awaitable[list[str]]]
    """The actions that the environment accepts now, without those that must not be taken again."""
    weigh: Callable[[Sequence[str]], Awaitable[str | None]]
    """Asks the executor which of these actions it prefers."""
    candidates: int
    """Largest number of actions that `weigh` takes."""


class ReplacementRule(Rule):
    """A rule that replaces an action that the environment does not know. `repair=False` switches all of them off."""

    way: ClassVar[Literal["executor", "similarity"]] = "executor"
    """The `AgentConfig.repair_by` under which it acts."""

    async def replace(self, action: ProposedAction) -> str | None:
        """The action to take in place of an unknown one; None if the rule finds none. Raises ServiceError,
        EnvironmentFault.
        """
        return None
