"""The `compact` prompt format: ours, made for small models trained from scratch.

Everything is lower-case words between single spaces, so that a name looks the same wherever it stands and a
model can copy it word for word. The look is stripped of what every room has (air, articles, empty surfaces,
open doors), which leaves about a fifth of the text. What each role reads, in this order:

    executor            sub-goal, last actions, last answer, room, inventory
    flat                task, rooms seen, last actions, last answer, room, inventory, score
    controller, first   the same with the sub-goals given so far before the last actions

The executor does not read the task: its sub-goal names everything, which keeps its prompts short and its
skills apart from the task types.

Decisions: a sub-goal `move(apple, red box)` is written `move apple , red box`, an action is the environment's
own string, and the end of a sub-goal is `end`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from waymark.contracts import AgentState, Role
from waymark.errors import UnparsableAction
from waymark.state import canonical, room_of

_END = "end"
_EXECUTOR_TURNS = 6
_OTHER_TURNS = 10
_SUBGOALS = 12
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
        (r"(-?\d+) degrees celsius", r"\1 degrees"),
        (r"approximately (\d+)% down the plane", r"\1 down"),
        (r"\b(?:a substance called|in the [a-z]+ stage(?= with))\b", ""),
        # Articles, but not the letter that names an unknown substance, plant or plane.
        (r"(?<!substance )(?<!unknown )(?<!plane )\b(?:a|an|the)\b", ""),
        (r"([(),:;])", r" \1 "),
        (r"\.(?!\d)", " "),
        (r"'", " "),
    )
)
_NOISE = {"agent", "air", "ground"}


@dataclass(frozen=True)
class _Compact:
    name: str = "compact"
    history_turns: int = _OTHER_TURNS

    def render(self, role: Role, state: AgentState) -> str:
        scene = [
            "answer " + " ".join(_plain(state.observation).split()[:_ANSWER_WORDS]) if _news(state) else "",
            f"room {room_of(state.look) or ''} : {_things(state.look)}",
            f"have {_things(state.inventory)}",
        ]
        if role == "executor":
            given = _words_of_subgoal(state.current_subgoal or "")
            return _join([given, _actions(state, _EXECUTOR_TURNS), *scene])
        task = " ".join(_plain(state.task).removeprefix("your task is to ").split()[:_TASK_WORDS])
        seen = "seen " + " , ".join(room.lower() for room in state.visited_rooms)
        parts = [task, seen, _actions(state, _OTHER_TURNS), *scene, f"score {state.score}"]
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
    return " ".join(text.split())


def _things(text: str) -> str:
    """A look or an inventory as its things, in order; open doors are left out, closed ones kept."""
    _, opened, rest = text.partition("you see:")
    lines = re.split(r"\n|You also see:", rest) if opened else text.splitlines()[1:]
    things = []
    for line in lines:
        if line.strip().lower().startswith("a door to") and "open" in line:
            continue
        thing = _plain(line).strip(" ,:")
        if thing and thing not in _NOISE:
            things.append(thing)
    return " , ".join(things)


def _news(state: AgentState) -> bool:
    """Whether the last answer says more than the look and the inventory, which follow anyway."""
    answer = state.observation.strip()
    return bool(answer) and answer not in (state.look.strip(), state.inventory.strip())


def _actions(state: AgentState, turns: int) -> str:
    recent = state.turns[max(0, len(state.turns) - turns) :]
    return "did " + " ; ".join(turn.action.lower() for turn in recent) if recent else ""


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
