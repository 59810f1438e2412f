"""The controller's next sub-goal, chosen among its alternatives by the agent's rules of play.

Without rules the controller's best answer is followed. With rules it is asked for several alternatives after an ended
sub-goal, and for more if a rule doubts an answer; the docstrings of the rules describe their conditions
(`waymark.agent.rules`, and those of the world). Text that cannot be parsed as a sub-goal (`parsed` is false) is never
followed. If a controller writes nothing else, the agent waits for a move and asks again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Sequence
from typing import Protocol

from waymark.agent.rules import Alternative, Choice, RuleSet, SubgoalRule, rules_of
from waymark.agent.state import COMPLETE, Scene, scene
from waymark.agent.usable_alternatives import subgoals_of
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig, AgentState, SubgoalResponse
from waymark.worlds.registry import agent_world

SUBGOAL_ALTERNATIVES, MANY_ALTERNATIVES = 5, 16


class Ask(Protocol):
    """Asks the controller for its `n` best sub-goals. Raises ServiceError."""

    def __call__(self, now: AgentState, /, *, n: int) -> Awaitable[SubgoalResponse]:
        """Best first."""
        ...


class SubgoalHistory:
    """The sub-goals given in an episode, and in which scenes."""

    def __init__(self, world: AgentWorld | None = None) -> None:
        self._world = world or agent_world()
        self._here: defaultdict[Scene, Counter[str]] = defaultdict(Counter)

    def add(self, subgoal: str, state: AgentState) -> None:
        """Record that a sub-goal is given now."""
        self._here[scene(state, self._world)][subgoal] += 1

    def choice(self, state: AgentState, ended: str | None) -> Choice:
        """The moment at which the next sub-goal is chosen; `ended` is the one that has just ended."""
        return Choice(state, ended, self._here[scene(state, self._world)])


class ControllerSource:
    """Implements `SubgoalSource` over a controller."""

    def __init__(self, ask: Ask, rules: RuleSet | None = None, world: AgentWorld | None = None) -> None:
        """`rules` None: all rules of the world."""
        world = world or agent_world()
        self._ask = ask
        self._rules = rules if rules is not None else rules_of(AgentConfig(), world)
        self._subgoal_rules = self._rules.of(SubgoalRule)
        self._history = SubgoalHistory(world)

    async def next(self, state: AgentState) -> str | None:
        """The best of the controller's alternatives that the rules accept."""
        choice = self._history.choice(state, state.current_subgoal if state.subgoal_step is None else None)
        several = SUBGOAL_ALTERNATIVES if self._subgoal_rules else 1
        answer = await self._ask(state, n=1 if choice.ended is None else several)
        doubting = self._doubting(answer, choice)
        if doubting:
            self._rules.record(*doubting)
            answer = await self._ask(state, n=SUBGOAL_ALTERNATIVES)
        chosen = self._choose(answer, choice)
        wanting = [rule for rule in self._subgoal_rules if chosen is not None and rule.wants_more(chosen, choice)]
        if wanting:
            self._rules.record(*wanting)
            chosen = self._choose(await self._ask(state, n=MANY_ALTERNATIVES), choice)
        if chosen is not None:
            self._history.add(chosen, state)
        return chosen

    def _doubting(self, answer: SubgoalResponse, choice: Choice) -> Sequence[SubgoalRule]:
        """The rules that call for more alternatives before one is chosen."""
        readable = subgoals_of(answer)
        if not readable or choice.ended is not None:
            return []
        return [rule for rule in self._subgoal_rules if rule.doubts(readable[0][0], choice)]

    def _choose(self, answer: SubgoalResponse, choice: Choice) -> str | None:
        alternatives: list[Alternative] = subgoals_of(answer)
        for rule in self._subgoal_rules:
            kept = rule.keep(alternatives, choice)
            if kept[:1] != alternatives[:1]:
                self._rules.record(rule)
            alternatives = kept
        subgoals = [subgoal for subgoal, _ in alternatives]
        chosen = choose_subgoal(subgoals, choice, self._subgoal_rules)
        if subgoals and chosen != subgoals[0]:
            self._rules.record(*_against(subgoals[0], choice, self._subgoal_rules))
        return chosen


def choose_subgoal(alternatives: Sequence[str], choice: Choice, rules: Sequence[SubgoalRule]) -> str | None:
    """The sub-goal to follow of a controller's alternatives, best first.

    It is the first one that no rule refuses and that is not spent; otherwise the first one that no rule refuses. If all
    are refused, it is the sub-goal that has just ended. None: there is no alternative, or all are refused and
    `complete_task()` is among them.
    """
    others = [subgoal for subgoal in alternatives if not any(rule.refuses(subgoal, choice) for rule in rules)]
    if others:
        fresh = (subgoal for subgoal in others if not any(rule.is_spent(subgoal, choice) for rule in rules))
        return next(fresh, others[0])
    return None if COMPLETE in alternatives or not alternatives else choice.ended


def _against(subgoal: str, choice: Choice, rules: Sequence[SubgoalRule]) -> list[SubgoalRule]:
    return [rule for rule in rules if rule.refuses(subgoal, choice) or rule.is_spent(subgoal, choice)]
