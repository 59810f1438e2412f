"""Rules of play: named values that an agent may use, each a small object.

A rule says in its docstring what it knows, when it acts, and what it may change. `AgentConfig.rules` names those that
an agent uses; each turn records those that acted (`TurnRecord.rules`). A rule acts when it asks a model again, refuses
its best answer, ends a sub-goal, or changes an action. A rule that only checks and changes nothing has not acted.

Five kinds of rules exist, by what they may change: `SubgoalRule`, `ActionRule`, `EndRule`, `ReplacementRule` and
`LoopRule`. The generic rules are here. A world adds its own (`AgentWorld.rules`); the order of that tuple is the order
in which rules of one kind are applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeVar

from waymark.agent.state import COMPLETE
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig, AgentState
from waymark.errors import InvalidInput

REPEATS: Final = 3
"""Largest number of times that a sub-goal that is meant to be repeated may be given in one scene."""
CIRCLES: Final = 4
"""Largest number of times that any other sub-goal may be given, in any scenes, while the score stays the same."""
STUCK_AFTER: Final = 3
"""After so many sub-goals that ended without an action between them, the executor counts as stuck."""

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
    at_score: Mapping[str, int] = field(default_factory=Counter)
    """How often each was given, in any scene, at the present score."""


# --- kinds of rules --------------------------------------------------------------------------------------


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

    def allows(self, action: str, logprob: float | None, state: AgentState, taken: Collection[str]) -> bool:
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
    ask: Callable[[], Awaitable[list[str]]]
    """Asks the executor for its alternatives, best first."""
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

    async def replace_unreadable(self, action: ProposedAction) -> str | None:
        """The action to take in place of text that is not an action; None if the rule finds none. Raises ServiceError,
        EnvironmentFault.
        """
        return None

    def instead_of(self, action: str, subgoal: str) -> str | None:
        """The action to take in place of a proposed one before it is tried; None: keep the proposed one."""
        return None


class LoopRule(Rule):
    """A rule that the loop itself implements. It has no methods: the loop only checks whether the agent uses it."""


# --- generic rules ---------------------------------------------------------------------------------------


class WellFormed(SubgoalRule):
    """Prefers sub-goals in the form of those that the controller was trained on.

    Knows the names of the training sub-goals and how many arguments each takes. Acts when the controller's best answer
    has another name or number of arguments. Changes which alternative is followed, if another one has such a form.
    """

    name = "well-formed"

    def keep(self, alternatives: list[Alternative], choice: Choice) -> list[Alternative]:
        """Those of a known form, unless only `complete_task()` would be left."""
        formed = [entry for entry in alternatives if self.is_formed(entry[0])]
        return formed if {subgoal for subgoal, _ in formed} - {COMPLETE} else alternatives

    def is_formed(self, subgoal: str) -> bool:
        """Whether a sub-goal has a name and a number of arguments that a training sub-goal has."""
        return subgoal == COMPLETE or form_of(subgoal) in _forms(self.world)


class NoEarlyComplete(SubgoalRule):
    """Follows another sub-goal in place of `complete_task()`.

    Knows that an environment ends a solved episode itself, so points are still open while the agent is asked. Acts when
    the controller's best answer is `complete_task()`. Changes it to the next best sub-goal; without one, the agent
    waits for a turn and asks again.
    """

    name = "no-early-complete"

    def doubts(self, subgoal: str, choice: Choice) -> bool:
        """Always for `complete_task()`."""
        return subgoal == COMPLETE

    def refuses(self, subgoal: str, choice: Choice) -> bool:
        """Always for `complete_task()`."""
        return subgoal == COMPLETE


class NoRepeatSubgoal(SubgoalRule):
    """Does not give a sub-goal again in the scene where it was given before.

    Knows the sub-goals given in this scene (look and inventory without readings). Acts after an ended sub-goal, when
    the controller names that one again or one given here before; sub-goals that are meant to be repeated may be given
    three times in a scene. Changes which alternative is followed, and asks for more where all were given before.
    """

    name = "no-repeat-subgoal"

    def refuses(self, subgoal: str, choice: Choice) -> bool:
        """The sub-goal that has just ended, unless it is meant to be repeated."""
        return subgoal == choice.ended and not subgoal.startswith(self.world.repeatable)

    def is_spent(self, subgoal: str, choice: Choice) -> bool:
        """Given in this scene as often as it may be."""
        most = REPEATS if subgoal.startswith(self.world.repeatable) else 1
        return choice.ended is not None and choice.here.get(subgoal, 0) >= most

    wants_more = is_spent


class Circles(SubgoalRule):
    """Does not give a sub-goal a fifth time while the score stays the same.

    Knows how often each sub-goal was given at the present score, in any scene. Acts after an ended sub-goal, when the
    controller names one given four times; those that are meant to be repeated are exempt. Changes which alternative is
    followed, and asks for more where all were given too often.
    """

    name = "circles"

    def is_spent(self, subgoal: str, choice: Choice) -> bool:
        """Given four times at this score."""
        often = choice.at_score.get(subgoal, 0) >= CIRCLES
        return choice.ended is not None and often and not subgoal.startswith(self.world.repeatable)

    wants_more = is_spent


class NoRepeatAction(ActionRule):
    """Does not repeat an action in a scene for the same sub-goal.

    Knows the actions taken in this scene (look and inventory without readings) for this sub-goal. Acts when the
    executor's best action is one of them and is not meant to be repeated. Asks the executor for five and takes the
    first that was not taken; without one, the action is repeated.
    """

    name = "no-repeat-action"

    def allows(self, action: str, logprob: float | None, state: AgentState, taken: Collection[str]) -> bool:
        """Not taken yet, or meant to be repeated."""
        return action not in taken or action.startswith(self.world.repeatable)


class Stuck(LoopRule):
    """Makes the executor act if it only ends sub-goals.

    Acts after three sub-goals that ended in a row without an action. Asks the executor for five answers and takes the
    first that is an action.
    """

    name = "stuck"


class AskAgain(LoopRule):
    """Asks a model again if its answer cannot be parsed.

    Acts when the text of controller or executor cannot be parsed as a sub-goal or action. Asks for more alternatives
    and takes the best that can be parsed.
    """

    name = "ask-again"


class UnknownEndsSubgoal(LoopRule):
    """Ends a sub-goal whose action the environment does not know.

    Acts when such an action was taken and nothing replaced it, or when the executor wrote no action at all. The
    controller then names the next sub-goal.
    """

    name = "unknown-ends-subgoal"


GENERIC: Final[tuple[type[Rule], ...]] = (
    WellFormed,
    NoEarlyComplete,
    NoRepeatSubgoal,
    Circles,
    NoRepeatAction,
    Stuck,
    AskAgain,
    UnknownEndsSubgoal,
)


def generic_rules(world: AgentWorld) -> tuple[Rule, ...]:
    """The rules that need no knowledge of a world, for a world that has none of its own."""
    return tuple(rule(world) for rule in GENERIC)


def form_of(subgoal: str) -> tuple[str, int]:
    """A sub-goal's name and how many arguments it has; -1 if an argument is empty."""
    name, _, rest = subgoal.partition("(")
    arguments = rest.removesuffix(")").split(", ") if rest != ")" else []
    return name, len(arguments) if all(map(str.strip, arguments)) else -1


_FORMS: dict[str, frozenset[tuple[str, int]]] = {}


def _forms(world: AgentWorld) -> frozenset[tuple[str, int]]:
    if world.name not in _FORMS:
        _FORMS[world.name] = frozenset(map(form_of, world.training_subgoals()))
    return _FORMS[world.name]


# --- the rules of an agent -------------------------------------------------------------------------------

_Kind = TypeVar("_Kind", bound=Rule)


class RuleSet:
    """The rules that one agent uses, and those that acted since they were last taken."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._names = frozenset(rule.name for rule in self._rules)
        self._acted: list[str] = []

    def __contains__(self, rule: type[Rule]) -> bool:
        """Whether the agent uses this rule."""
        return rule.name in self._names

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The rules of a kind, in the order in which they are applied."""
        return [rule for rule in self._rules if isinstance(rule, kind)]

    def record(self, *rules: Rule | type[Rule]) -> None:
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
