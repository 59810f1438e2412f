"""The prompt format `textworld-plain`: what an agent has seen and done, without aids.

    executor            sub-goal, actions since it was given, last answer, what is seen, what is carried
    flat                task, texts that were read, actions so far, last answer, what is seen, what is carried, score
    controller, first   the same, and the last sub-goals that were given

Everything is lower-case words between single spaces; a number is one word, apart from its unit. Words that the
simulator puts between things whatever they are (`In one part of the room you see a`, `that has nothing on it`) are left
out or shortened; every thing, its state and the order of all of them stay. A history has the actions, each walk with
the room that it led to. The last answer to each `read` is repeated, so that a recipe, a map or a problem stays in
sight. Nothing is marked, reordered or concluded: a format with aids would be another one, under another name.

Decisions: an action is the environment's own string, a sub-goal `put(coin, box)` is written `put coin , box`, and
the end of a sub-goal is `end`. `sit_down()` is written `sit down`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from waymark.agent.state import actions_only
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.base import COMPLETE
from waymark.worlds.subgoal_words import subgoal_of_words
from waymark.worlds.textworld_express.actions import PHRASES
from waymark.worlds.textworld_express.scene import room_of

_TURNS: Final = 30
_TURNS_SINCE: Final = 8
"""Of an executor's history, which begins with its sub-goal."""
_SUBGOALS: Final = 3
_ANSWER_WORDS: Final = 40
_READ_WORDS: Final = 150
"""Of a text that was read: a map of fifteen rooms fits."""
_READ_TEXTS: Final = 2
_LOOK_WORDS: Final = 180
_CARRIED_WORDS: Final = 60
_END: Final = "end"
_READING: Final = "read "
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)*|[0-9]+|[^\sa-z0-9]")
_UNIT: Final = re.compile(r"(?<=[0-9]) (?=[a-z]{1,2} of\b)")
"""Between a number and its unit, which the simulator writes together: `47g of brick`."""
_ARTICLES: Final = frozenset(("a", "an", "the", "some"))
_SHORTENED: Final = (
    ("You are in ", ""),
    ("In one part of the room you see ", ""),
    ("In another part of the room you see ", ""),
    ("There is also ", ""),
    ("You also see ", ""),
    ("Inventory (maximum capacity is", "(capacity"),
    ("Inventory: ", ""),
    ("Your inventory is currently empty", "nothing"),
    (", that has nothing on it", " is empty"),
    (", that ", " "),
    (" that has ", " has "),
    (" that is ", " is "),
    (" on it.", "."),
    (" you see ", " "),
    ("The map reads:", ""),
    (" connects to ", " : "),
    ("Gather all following ingredients and follow the directions to prepare this tasty meal.", ""),
)
"""What the simulator writes between things, and what stands for it. In this order."""


@dataclass(frozen=True)
class TextWorldPlain:
    """Implements `waymark.worlds.base.PromptFormat`."""

    name: str = "textworld-plain"
    history_turns: int = _TURNS

    def render(self, role: Role, state: AgentState) -> str:
        """The prompt of a role for a state."""
        state = actions_only(state)
        if role == "executor":
            parts = ["goal " + _subgoal_words(state.current_subgoal or "")]
            parts.append("did " + _actions(_since(state)))
        else:
            parts = ["task " + _words(state.task, _READ_WORDS)]
            parts += ["read " + _words(text, _READ_WORDS) for text in _texts(state.turns)]
            if role != "flat":
                subgoals = (*state.completed_subgoals, *((state.current_subgoal,) if state.current_subgoal else ()))
                parts.append("gave " + " ; ".join(map(_subgoal_words, subgoals[-_SUBGOALS:])))
            parts.append("did " + _actions(state.turns[-_TURNS:]))
        if state.observation and not room_of(state.observation) and not _has_just_read(state):
            parts.append("answer " + _words(state.observation, _ANSWER_WORDS))
        parts.append("see " + _words(state.look, _LOOK_WORDS))
        parts.append("carry " + _words(state.inventory, _CARRIED_WORDS))
        if role != "executor":
            parts.append("score " + _words(str(state.score), 4))
        return " | ".join(part.strip() for part in parts)

    def target(self, role: Role, decision: str | None) -> str:
        """What a model writes for a decision."""
        if decision is None:
            return _END
        return _subgoal_words(decision) if role in ("controller", "first") else _spelt(decision, _ANSWER_WORDS)

    def parse(self, role: Role, text: str) -> str | None:
        """The decision that a model's text stands for. Raises UnparsableAction for an empty one."""
        words = " ".join(text.split())
        if not words:
            raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
        if words == _END:
            return None
        words = _UNIT.sub("", words)
        if role not in ("controller", "first"):
            return words
        if words in PHRASES:
            return f"{words.replace(' ', '_')}()"
        return subgoal_of_words(words)


def _since(state: AgentState) -> Sequence[Turn]:
    """The turns since the sub-goal was given."""
    done = state.step - (state.subgoal_step or state.step)
    return state.turns[-min(done, _TURNS_SINCE) :] if done > 0 else ()


def _has_just_read(state: AgentState) -> bool:
    return bool(state.turns) and (state.turns[-1].action or "").startswith(_READING)


def _texts(turns: Sequence[Turn]) -> list[str]:
    """The last answer to each `read …`, the oldest first."""
    read: dict[str, str] = {}
    for turn in turns:
        if turn.action and turn.action.startswith(_READING):
            read.pop(turn.action, None)
            read[turn.action] = turn.observation
    return list(read.values())[-_READ_TEXTS:]


def _actions(turns: Sequence[Turn]) -> str:
    """The actions of these turns; a walk with the room that it led to."""
    return " ; ".join(
        " : ".join(filter(None, (_spelt(turn.acted, _ANSWER_WORDS), room_of(turn.observation)))) for turn in turns
    )


def _subgoal_words(subgoal: str) -> str:
    """`put(31 bananas, box)` as `put 31 bananas , box`; what is said without an object (`sit_down()`) in its words."""
    verb, _, rest = subgoal.partition("(")
    words = _spelt(verb.replace("_", " "), _ANSWER_WORDS)
    if subgoal.endswith("()") and subgoal != COMPLETE:
        return words
    arguments = " , ".join(_spelt(argument, _ANSWER_WORDS) for argument in rest.removesuffix(")").split(", "))
    return f"{words.replace(' ', '_')} {arguments}".strip()


def _words(text: str, limit: int) -> str:
    """A text of the simulator, shortened; at most so many words."""
    text = _one_line(text[: 24 * limit])
    for long, short in _SHORTENED:
        text = text.replace(long, short)
    return " ".join([word for word in _spelt(text, 2 * limit).split() if word not in _ARTICLES][:limit])


def _one_line(text: str) -> str:
    """Lines joined by commas, unless one ends with a sign of its own; runs of blanks become one."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "".join(line + (" " if line.endswith((".", ":", "!", "?")) else ", ") for line in lines).removesuffix(", ")


def _spelt(text: str, limit: int) -> str:
    """Lower-case words, numbers and signs between single spaces; linear in the text, which is cut first."""
    return " ".join(_WORD.findall(text[: 12 * limit].lower())[:limit])
