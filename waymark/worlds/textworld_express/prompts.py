"""The prompt format `textworld-plain`: what an agent has seen and done, without aids.

    executor            sub-goal, task, turns so far, last answer, what it sees, what it carries
    flat                task, turns so far, last answer, what it sees, what it carries, score
    controller, first   the same with the sub-goals given so far

Everything is lower-case words between single spaces; numbers are written digit by digit, so that a number is spelt
alike wherever it stands and can be compared. Nothing is left out, reordered or marked by what it means: a format
with aids would be another one, under another name. A look in the history is shortened to its room, since what was
seen there is told again by going back.

Decisions: an action is the environment's own string, a sub-goal `put(coin, box)` is written `put coin , box`, and
the end of a sub-goal is `end`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from waymark.agent.state import actions_only
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.textworld_express.scene import room_of

_TURNS: Final = 30
_ANSWER_WORDS: Final = 90
"""Of an answer in the history: a cookbook or a map fits."""
_LOOK_WORDS: Final = 200
_SUBGOALS: Final = 12
_END: Final = "end"
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)*|[0-9]|[^\sa-z0-9]")
_DIGITS: Final = re.compile(r"(?<![0-9] )\b[0-9](?: [0-9]\b)+")
_UNIT: Final = re.compile(r"(?<=[0-9]) (?=[a-z]{1,2} of\b)")
"""Between a number and its unit, which the simulator writes together: `47g of brick`."""


@dataclass(frozen=True)
class TextWorldPlain:
    """Implements `waymark.worlds.base.PromptFormat`."""

    name: str = "textworld-plain"
    history_turns: int = _TURNS

    def render(self, role: Role, state: AgentState) -> str:
        """The prompt of a role for a state."""
        parts = []
        if role == "executor":
            parts.append("goal " + _subgoal_words(state.current_subgoal or ""))
        parts.append("task " + _words(state.task))
        if role in ("controller", "first"):
            given = (*state.completed_subgoals, *((state.current_subgoal,) if state.current_subgoal else ()))
            parts.append("gave " + " ; ".join(_subgoal_words(subgoal) for subgoal in given[-_SUBGOALS:]))
        parts.append("did " + " ; ".join(_turn(turn) for turn in actions_only(state).turns[-_TURNS:]))
        if not room_of(state.observation):
            parts.append("answer " + _words(state.observation, _ANSWER_WORDS))
        parts.append("see " + _words(state.look, _LOOK_WORDS))
        parts.append("carry " + _words(state.inventory, _ANSWER_WORDS))
        if role != "executor":
            parts.append("score " + _words(str(state.score)))
        return " | ".join(part.strip() for part in parts)

    def target(self, role: Role, decision: str | None) -> str:
        """What a model writes for a decision."""
        if decision is None:
            return _END
        return _subgoal_words(decision) if role in ("controller", "first") else _words(decision)

    def parse(self, role: Role, text: str) -> str | None:
        """The decision that a model's text stands for. Raises UnparsableAction for an empty one."""
        words = " ".join(text.split())
        if not words:
            raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
        if words == _END:
            return None
        words = _DIGITS.sub(lambda found: found.group().replace(" ", ""), words)
        words = _UNIT.sub("", words)
        if role not in ("controller", "first"):
            return words
        verb, _, rest = words.partition(" ")
        return f"{verb}({rest.replace(' , ', ', ')})"


def _turn(turn: Turn) -> str:
    """One action and its answer; of a look just the room."""
    room = room_of(turn.observation)
    return f"{_words(turn.acted)} : {room or _words(turn.observation, _ANSWER_WORDS)}"


def _subgoal_words(subgoal: str) -> str:
    """`put(31 bananas, box)` as `put 3 1 bananas , box`."""
    verb, _, rest = subgoal.partition("(")
    arguments = rest.removesuffix(")").split(", ")
    return f"{_words(verb.replace('_', ' ')).replace(' ', '_')} {' , '.join(map(_words, arguments))}".strip()


def _words(text: str, limit: int = 400) -> str:
    """Lower-case words, signs and single digits between single spaces; linear in the text, which is cut first."""
    return " ".join(_WORD.findall(text[: 12 * limit].lower())[:limit])
