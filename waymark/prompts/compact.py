"""The `compact` prompt format: ours, made for small models trained from scratch.

Everything is lower-case words between single spaces, so that a name looks the same wherever it stands and a
model can copy it word for word. The look is stripped of what every room has (air, articles, empty surfaces,
open doors), which leaves about a fifth of the text. What each role reads, in this order:

    executor            sub-goal, actions before it, actions since it was given, last answer, room, inventory
    flat                task, rooms seen, last actions, readings, last answer, room, inventory, score
    controller, first   the same with the sub-goals given so far before the last actions

The executor does not read the task: its sub-goal names everything, which keeps its prompts short and its
skills apart from the task types. What was done since the sub-goal was given stands apart, since that is what
tells whether it has ended. Readings are what instruments, planes and recipes said: what an answer depends on
stays in sight. Numbers to compare are written digit by digit at equal length.

Decisions: a sub-goal `move(apple, red box)` is written `move apple , red box`, an action is the environment's
own string, and the end of a sub-goal is `end`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.state import canonical, room_of

_END = "end"
_HISTORY = 40
"""How far back readings are looked for."""
_TURNS_BEFORE = 3
_TURNS_SINCE = 8
_TURNS: dict[Role, int] = {"flat": 10, "controller": 5, "first": 5}
_SUBGOALS = 12
_READINGS = 3
_READING_WORDS = 24
_READS = ("read ", "use thermometer on ", "look at inclined plane")
_ANSWER_WORDS = 40
_TASK_WORDS = 90

_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\(containing nothing\)|\(n\)", ""),
        (r"\. on the [a-z ]+ is: nothing\.", ""),
        (r"\. in the [a-z ]+ is: nothing\.", ""),
        (r"\. the [a-z ]+ door is closed\.", " closed"),
        (r"\. the [a-z ]+ door is open\.", " open"),
        (r" in the [a-z ]+ is: ", " holds "),
        (r"\.? on the [a-z ]+ (?:is|you see): ", " holds "),
        (r"\(containing ", "( "),
        (r", which is turned (on|off)", r" \1"),
        (r", which is (on|off|activated|deactivated)", r" \1"),
        (r", currently reading a temperature of (-?\d+) degrees celsius", r" \1"),
        (r"(\d+)\.0 degrees celsius", r"\1 degrees celsius"),
        (r"approximately (\d+)% down the plane", r"\1 down"),
        (r"\b(?:a substance called|in the [a-z]+ stage(?= with))\b", ""),
        # Articles, but not the letter that names an unknown substance, plant or plane.
        (r"(?<!substance )(?<!unknown )(?<!plane )\b(?:a|an|the)\b", ""),
        (r"([(),:;])", r" \1 "),
        (r"\.(?!\d)", " "),
        (r"'", " "),
    )
)
_NUMBER = re.compile(r"(-?)\b(\d+) (degrees|down)\b(?: celsius)?")
_NOISE = {"agent", "air", "ground"}


@dataclass(frozen=True)
class _Compact:
    name: str = "compact"
    history_turns: int = _HISTORY

    def render(self, role: Role, state: AgentState) -> str:
        scene = [
            _answer(state, role),
            f"room {room_of(state.look) or ''} : {_things(state.look)}",
            f"have {_things(state.inventory)}",
        ]
        if role == "executor":
            given = _words_of_subgoal(state.current_subgoal or "")
            since = _since(state)
            before = state.turns[: len(state.turns) - len(since)]
            return _join(
                [given, _actions("before", before, _TURNS_BEFORE), _actions("did", since, _TURNS_SINCE), *scene]
            )
        task = " ".join(_plain(state.task).removeprefix("your task is to ").split()[:_TASK_WORDS])
        seen = "seen " + " , ".join(room.lower() for room in state.visited_rooms)
        acted = _actions("did", state.turns, _TURNS[role])
        parts = [task, seen, acted, _readings(state), *scene, f"score {state.score}"]
        if role != "flat":
            parts.insert(2, _subgoals(state))
        return _join(parts)

    def target(self, role: Role, decision: str | None) -> str:
        if decision is None:
            return _END
        return _words_of_subgoal(decision) if role in ("controller", "first") else decision.lower()

    def parse(self, role: Role, text: str) -> str | None:
        words = " ".join(text.split())
        if not words:
            raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
        if role in ("controller", "first"):
            return _subgoal_of_words(words)
        return None if words == _END else words


COMPACT = _Compact()


def _join(parts: list[str]) -> str:
    return " | ".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Lower-case words between single spaces, boilerplate gone."""
    text = canonical(text.lower())
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return " ".join(_NUMBER.sub(_digits, text).split())


# Rooms say the same lines step after step, and rewriting them is most of what rendering costs.
_plain_again = lru_cache(maxsize=4_096)(_plain)
_SHORT = 500
"""Characters of a line that is worth keeping, so that what is kept stays small."""


def _digits(found: re.Match[str]) -> str:
    """`85 degrees` as `0 0 8 5 degrees`, `5 down` as `0 0 5 down`: numbers that are compared align."""
    sign, number, unit = found.groups()
    width = 4 if unit == "degrees" else 3
    return " ".join([*(["-"] if sign else []), *number.zfill(width), unit])


def _things(text: str) -> str:
    """A look or an inventory as its things, in order; open doors are left out, closed ones kept."""
    _, opened, rest = text.partition("you see:")
    lines = re.split(r"\n|You also see:", rest) if opened else text.splitlines()[1:]
    things = []
    for line in lines:
        if line.strip().lower().startswith("a door to") and "open" in line:
            continue
        thing = (_plain_again(line) if len(line) <= _SHORT else _plain(line)).strip(" ,:")
        if thing and thing not in _NOISE:
            things.append(thing)
    return " , ".join(things)


def _news(state: AgentState) -> bool:
    """Whether the last answer says more than the look and the inventory, which follow anyway."""
    answer = state.observation.strip()
    return bool(answer) and answer not in (state.look.strip(), state.inventory.strip())


def _answer(state: AgentState, role: Role) -> str:
    """The last answer, where it is no reading that stands elsewhere."""
    read = role != "executor" and state.turns and state.turns[-1].action.startswith(_READS)
    return "answer " + " ".join(_plain(state.observation).split()[:_ANSWER_WORDS]) if _news(state) and not read else ""


def _actions(heading: str, turns: Sequence[Turn], most: int) -> str:
    recent = turns[max(0, len(turns) - most) :]
    return f"{heading} " + " ; ".join(turn.action.lower() for turn in recent) if recent else ""


def _since(state: AgentState) -> Sequence[Turn]:
    """The turns since the current sub-goal was given; all where that is not known."""
    if state.subgoal_step is None:
        return state.turns
    return state.turns[max(0, len(state.turns) - max(0, state.step - state.subgoal_step)) :]


def _readings(state: AgentState) -> str:
    """What instruments said, each question with its latest answer, in the order in which they were first asked."""
    said: dict[str, str] = {}
    for turn in state.turns[max(0, len(state.turns) - _HISTORY) :]:
        action = turn.action.lower()
        if action.startswith(_READS):
            said[action] = " ".join(_plain(turn.observation).split()[:_READING_WORDS])
    latest = list(said.items())[-_READINGS:]
    return "read " + " ; ".join(f"{action} : {answer}" for action, answer in latest) if latest else ""


def _subgoals(state: AgentState) -> str:
    given = [*state.completed_subgoals, *([state.current_subgoal] if state.current_subgoal else [])]
    return "gave " + " ; ".join(_words_of_subgoal(one) for one in given[-_SUBGOALS:]) if given else ""


def _words_of_subgoal(subgoal: str) -> str:
    """`move(apple, red box)` -> `move apple , red box`."""
    verb, _, rest = subgoal.lower().partition("(")
    arguments = rest.removesuffix(")").split(", ") if rest.removesuffix(")") else []
    return " ".join([verb, " , ".join(arguments)]).strip()


def _subgoal_of_words(words: str) -> str:
    """The inverse of `_words_of_subgoal`."""
    verb, _, rest = words.partition(" ")
    return f"{verb}({rest.replace(' , ', ', ')})"
