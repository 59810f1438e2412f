"""The controller's next sub-goal, chosen among its several by rules that keep small models from going in circles.

- After an ended sub-goal the controller is asked for several, and the first that was not given in this very scene
  (look and inventory) before is taken: giving it again would lead where it led then. Waiting and measuring are
  meant to be repeated: such a sub-goal may be given three times. Any other is given four times at one score, however
  the scene changes: more often is going in circles.
- Nor is one taken whose end is reached: to go where the agent is, to open what is open, to pick up what it carries, to
  put a thing where it lies, to time a slide that it has watched.
- A name, or a number of arguments, that no training sub-goal has is a slip: the others are looked at first.
- A sub-goal that names what is neither here nor carried comes too early, or is a name misspelt: the first of the
  controller's several that does not is taken, if there is one.
- Where all that it names was given before, or is not in sight, it is asked for many: something else has to be done.
- One that stakes the score (`waymark.worlds.scienceworld.rules.risk`) is only followed if it is likely enough.
- `complete_task()` only says that the agent believes it is done. The simulator ends a solved episode itself, so
  points are still open then: the controller's next best sub-goal is taken, if it has one.
- Text that is no sub-goal (`parsed` is false) is never given. If there is nothing else among several, the agent waits
  one move and asks again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from functools import cache
from typing import Protocol

from waymark.agent.readable import subgoals_of
from waymark.agent.state import Scene, scene
from waymark.agent.subgoal_sources.drawn import training_subgoals
from waymark.contracts import AgentState, SubgoalResponse
from waymark.worlds.scienceworld.rules.risk import is_worth_it
from waymark.worlds.scienceworld.subgoals import COMPLETE, in_sight, is_reached

SUBGOAL_ALTERNATIVES, MANY_ALTERNATIVES = 5, 16
REPEATABLE = (
    "wait",
    "water(",
    "use thermometer",
    "monitor_temperature(",
    "measure_temperature(",
    "look ",
    "time_slide(",
)
"""What sub-goals and actions begin with that are meant to be repeated where nothing seems to have changed."""
REPEATS = 3
"""How often such a sub-goal may be given in one scene."""
CIRCLES = 4
"""How often any other may be given, whatever the scene, while the score stays where it is."""


class Ask(Protocol):
    """Asks the controller for its `n` best sub-goals. Raises ServiceError."""

    def __call__(self, now: AgentState, /, *, n: int) -> Awaitable[SubgoalResponse]:
        """Best first."""
        ...


class SubgoalHistory:
    """The sub-goals given in an episode, in which scenes and at which scores."""

    def __init__(self) -> None:
        self._here: defaultdict[Scene, Counter[str]] = defaultdict(Counter)
        self._meanwhile: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def add(self, subgoal: str, state: AgentState) -> None:
        """It is given now."""
        self._here[scene(state)][subgoal] += 1
        self._meanwhile[state.score][subgoal] += 1

    def before(self, state: AgentState) -> Counter[str]:
        """How often each was given in this very scene; one that leads in circles counts once more."""
        often = (subgoal for subgoal, times in self._meanwhile[state.score].items() if times >= CIRCLES)
        circling = Counter(subgoal for subgoal in often if not subgoal.startswith(REPEATABLE))
        return self._here[scene(state)] + circling


class ControllerSource:
    """Implements `SubgoalSource` over a controller."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._given = SubgoalHistory()

    async def next(self, state: AgentState) -> str | None:
        """The best of the controller's that the rules let pass."""
        ended = state.current_subgoal if state.subgoal_step is None else None
        answer = await self._ask(state, n=1 if ended is None else SUBGOAL_ALTERNATIVES)
        if not subgoals_of(answer) or (ended is None and _is_doubtful(subgoals_of(answer)[0][0], state)):
            answer = await self._ask(state, n=SUBGOAL_ALTERNATIVES if ended is None else MANY_ALTERNATIVES)
        given = self._given.before(state)
        chosen = self._choose(answer, state, ended, given)
        if chosen is not None and (not in_sight([chosen], state) or (ended is not None and is_spent(chosen, given))):
            chosen = self._choose(await self._ask(state, n=MANY_ALTERNATIVES), state, ended, given)
        if chosen is not None:
            self._given.add(chosen, state)
        return chosen

    def _choose(
        self, answer: SubgoalResponse, state: AgentState, ended: str | None, given: Mapping[str, int]
    ) -> str | None:
        alternatives = [subgoal for subgoal, logprob in subgoals_of(answer) if is_worth_it(subgoal, logprob, state)]
        formed = [one for one in alternatives if is_formed(one)]
        alternatives = formed if set(formed) - {COMPLETE} else alternatives
        alternatives = [one for one in alternatives if not is_reached(one, state)] or alternatives
        alternatives = in_sight(alternatives, state) or alternatives
        return choose_subgoal(alternatives, ended, given if ended is not None else {})


def _is_doubtful(subgoal: str, state: AgentState) -> bool:
    """Whether the controller's others should be looked at too."""
    return subgoal == COMPLETE or not in_sight([subgoal], state) or is_reached(subgoal, state)


def choose_subgoal(alternatives: Sequence[str], ended: str | None, given: Mapping[str, int]) -> str | None:
    """The sub-goal to follow, given the controller's, best first, and the one that has just ended.

    `given` says how often each was given before (`SubgoalHistory`); those given too often are taken only if there is
    nothing else. One that is meant to be repeated may also be the one that has just ended.
    None: the controller has nothing but `complete_task()`, perhaps beside the one that has just ended, or nothing.
    """
    others = [
        subgoal
        for subgoal in alternatives
        if subgoal != COMPLETE and (subgoal != ended or subgoal.startswith(REPEATABLE))
    ]
    if others:
        return next((subgoal for subgoal in others if not is_spent(subgoal, given)), others[0])
    return None if COMPLETE in alternatives or not alternatives else ended


def is_spent(subgoal: str, given: Mapping[str, int]) -> bool:
    """Whether a sub-goal was given as often as it may be."""
    return given.get(subgoal, 0) >= (REPEATS if subgoal.startswith(REPEATABLE) else 1)


def is_formed(subgoal: str) -> bool:
    """Whether a sub-goal has the form of one that was trained on: its name with so many arguments, none of them empty.

    >>> is_formed("move(red apple, blue box)"), is_formed("move(red apple)"), is_formed("apple()")
    (True, False, False)
    """
    return subgoal == COMPLETE or _form(subgoal) in _forms()


@cache
def _forms() -> frozenset[tuple[str, int]]:
    return frozenset(map(_form, training_subgoals()))


def _form(subgoal: str) -> tuple[str, int]:
    """Its name and how many arguments it has; -1 if one of them is empty."""
    name, _, rest = subgoal.partition("(")
    arguments = rest.removesuffix(")").split(", ") if rest != ")" else []
    return name, len(arguments) if all(map(str.strip, arguments)) else -1
