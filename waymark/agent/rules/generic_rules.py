"""The rules that need no knowledge of a world."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from waymark.agent.rules.kinds import ActionRule, Alternative, Choice, Rule, SubgoalRule
from waymark.agent.state import COMPLETE
from waymark.agent.world_port import AgentWorld

REPEATS: Final = 3
"""Largest number of times that a sub-goal that is meant to be repeated may be given in one scene."""


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


class NoRepeatAction(ActionRule):
    """Does not repeat an action in a scene for the same sub-goal.

    Knows the actions taken in this scene (look and inventory without readings) for this sub-goal. Acts when the
    executor's best action is one of them and is not meant to be repeated. Asks the executor for five and takes the
    first that was not taken; without one, the action is repeated.
    """

    name = "no-repeat-action"

    def allows(self, action: str, taken: Collection[str]) -> bool:
        """Not taken yet, or meant to be repeated."""
        return action not in taken or action.startswith(self.world.repeatable)


GENERIC: Final[tuple[type[Rule], ...]] = (
    WellFormed,
    NoRepeatSubgoal,
    NoRepeatAction,
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
