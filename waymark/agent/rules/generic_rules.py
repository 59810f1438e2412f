"""The rules that need no knowledge of a world."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from waymark.agent.rules.kinds import ActionRule, Alternative, Choice, LoopRule, Rule, SubgoalRule
from waymark.agent.state import COMPLETE
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState

REPEATS: Final = 3
"""Largest number of times that a sub-goal that is meant to be repeated may be given in one scene."""
CIRCLES: Final = 4
"""Largest number of times that any other sub-goal may be given, in any scenes, while the score stays the same."""
STUCK_AFTER: Final = 3
"""After so many sub-goals that ended without an action between them, the executor counts as stuck."""


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
