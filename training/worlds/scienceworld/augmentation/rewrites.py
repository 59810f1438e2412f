"""The same changes made to all texts of a decision: task, sub-goals, turns, scene, inventory and answer."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, Protocol

from training.datasets import Decision
from waymark.contracts import AgentState, Turn
from waymark.worlds.scienceworld.prompts.text_normalisation import plain


class Rewrite(Protocol):
    """Changes a text: one of the simulator, a sub-goal, an action or a prompt."""

    @property
    def touches(self) -> Collection[str]:
        """Lower-case words. A text that has none of them is not changed."""
        ...

    def __call__(self, text: str) -> str:
        """The changed text."""
        ...


_WORD: Final = re.compile(r"\b([a-z]+)\b", re.IGNORECASE)
_BOX: Final = re.compile(r"\b[a-z]+ box\b", re.IGNORECASE)
_POT: Final = re.compile(r"(?<=\bflower pot )\d\b")
_DEGREES: Final = re.compile(
    r"(?P<kept>currently reading a temperature of )?(?<![\d.-])(?P<value>\d+)(?=(?:\.0)? degrees\b)"
)
"""A temperature that the agent compares. The one in the description of a thermometer matches too, as `kept`."""
_DOWN: Final = re.compile(r"(?<=approximately )(?P<value>\d+)(?=% down\b)")
"""How far a block has moved down an inclined plane, in percent."""
UNKNOWN: Final = re.compile(r"\b(?:(solid|liquid) )?unknown substance [a-z]\b", re.IGNORECASE)
_CACHED_TEXTS: Final = 10_000
"""Number of texts whose words are cached."""
_CONDITION: Final = re.compile(r" (?:which is )?(?:open|closed|on|off|activated|deactivated)\b.*", re.DOTALL)
_ARTICLE: Final = "\ta "
VESSELS: Final = ("bowl", "jug", "wood cup", "glass jar")


class Names:
    """Gives words new names. Names of two words (`phrases`) are replaced first, each as one name."""

    def __init__(self, names: Mapping[str, str], phrases: Mapping[str, str] | None = None) -> None:
        self._names = names
        self._phrases = dict(phrases or {})
        self.touches = {*names, *(phrase.split(" ")[0] for phrase in self._phrases)}

    def __call__(self, text: str) -> str:
        """The text with the new names."""
        for number, phrase in enumerate(self._phrases):
            text = re.sub(rf"\b{phrase}\b", f"\x00{number}\x00", text, flags=re.IGNORECASE)
        parts = _WORD.split(text)
        parts[1::2] = [self._names.get(word.lower(), word) for word in parts[1::2]]
        text = "".join(parts)
        for number, name in enumerate(self._phrases.values()):
            text = text.replace(f"\x00{number}\x00", name)
        return text


class Boxes:
    """Gives boxes new names. The keys are whole names such as `red box`."""

    touches = ("box",)

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def __call__(self, text: str) -> str:
        """The text with the new names."""
        return _BOX.sub(lambda box: self._names.get(box[0].lower(), box[0]), text) if " box" in text else text


class Phrases:
    """Replaces phrases, one after the other, anywhere in a text. `touches` is a word that all of them contain.

    A box that `Boxes` has numbered counts as a box.
    """

    def __init__(self, names: Mapping[str, str], touches: str) -> None:
        self._names = names
        self.touches = (touches,)

    def __call__(self, text: str) -> str:
        """The text with the new names."""
        for phrase, name in self._names.items():
            text = text.replace(phrase, name)
        return text


class Unknown:
    """Gives the unknown substance of the task a new name. `state` is its state in the task, e.g. `solid`."""

    touches = ("unknown",)

    def __init__(self, name: str, state: str | None) -> None:
        self._name, self._state = name, state

    def __call__(self, text: str) -> str:
        """The text with the new name. A state other than the task's stands before the name."""
        return UNKNOWN.sub(self._called, text)

    def _called(self, match: re.Match[str]) -> str:
        state = match[1].lower() if match[1] else None
        return self._name if state in (None, self._state) else f"{state} {self._name}"


class Pots:
    """Gives flower pots new numbers."""

    touches = ("pot",)

    def __init__(self, numbers: Mapping[str, str]) -> None:
        self._numbers = numbers

    def __call__(self, text: str) -> str:
        """The text with the new numbers."""
        return _POT.sub(lambda pot: self._numbers.get(pot[0], pot[0]), text) if "flower pot " in text else text


class Readings:
    """Replaces readings by others in the same order: old to new temperatures in degrees Celsius, and old to new
    positions on a plane in percent.

    A value between two old readings is replaced by one between the two new ones.
    """

    touches = ("degrees", "down")

    def __init__(self, degrees: Mapping[int, int], down: Mapping[int, int]) -> None:
        self._degrees, self._down = degrees, down

    def __call__(self, text: str) -> str:
        """The text with the new readings."""
        if self._degrees and " degrees" in text:
            text = _DEGREES.sub(self._warm, text)
        if self._down and " down" in text:
            text = _DOWN.sub(lambda match: str(_between(int(match["value"]), self._down)), text)
        return text

    def _warm(self, match: re.Match[str]) -> str:
        return match[0] if match["kept"] else str(_between(int(match["value"]), self._degrees))


def _between(value: int, new: Mapping[int, int]) -> int:
    """The new value for one that is between, below or above the old readings."""
    if value in new:
        return new[value]
    olds = sorted(new)
    place = bisect_left(olds, value)
    if place == 0:
        return max(0, new[olds[0]] - (olds[0] - value))
    if place == len(olds):
        return new[olds[-1]] + value - olds[-1]
    return (new[olds[place - 1]] + new[olds[place]]) // 2


def changed(
    decision: Decision, rewrites: Sequence[Rewrite], score: int, holders: Mapping[str, str] | None = None
) -> Decision:
    """A decision with the same rewrites made in all its texts.

    `holders` maps a thing that lies in the room to the furniture or vessel on or in which it lies now, both by their
    new names. `score` replaces the score of the state. Rewards of turns are not changed.
    """
    touches = frozenset[str]().union(*(rewrite.touches for rewrite in rewrites))
    known: dict[str, str] = {}

    def rewritten(text: str) -> str:
        if text not in known:
            new = text
            for rewrite in rewrites:
                new = rewrite(new)
            known[text] = new
        return known[text]

    def renamed(text: str) -> str:
        return text if touches.isdisjoint(_words_of(text)) else rewritten(text)

    def acted(turn: Turn) -> Turn:
        action, observation = turn.action and renamed(turn.action), renamed(turn.observation)
        if action == turn.action and observation == turn.observation:
            return turn
        return turn.model_copy(update={"action": action, "observation": observation})

    state = decision.state
    update: dict[str, object] = {"score": score}
    if rewrites:
        update |= {
            "task": rewritten(state.task),
            "look": rewritten(state.look),
            "inventory": rewritten(state.inventory),
            "observation": rewritten(state.observation),
            "turns": tuple(map(acted, state.turns)),
            "completed_subgoals": tuple(map(rewritten, state.completed_subgoals)),
            "current_subgoal": state.current_subgoal and rewritten(state.current_subgoal),
        }
    new = state.model_copy(update=update)
    if holders:
        new = _moved(new, holders)
    return replace(decision, state=new, answer=decision.answer and rewritten(decision.answer))


@lru_cache(_CACHED_TEXTS)
def _words_of(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def _moved(state: AgentState, holders: Mapping[str, str]) -> AgentState:
    """The state with things of the room moved onto furniture or into vessels."""
    look = moved(state.look, holders)
    seen = state.observation.strip() == state.look.strip()
    return state.model_copy(update={"look": look, **({"observation": look} if seen else {})})


def moved(look: str, holders: Mapping[str, str]) -> str:
    """A look in which things that have a line of their own lie on furniture or in a vessel (`holders`) instead.

    >>> moved("In it, you see: \\n\\ta chair. On the chair is: nothing.\\n\\ttin\\n", {"tin": "chair"})
    'In it, you see: \\n\\ta chair. On the chair is: tin.\\n'
    """
    lines = look.split("\n")
    for thing, holder in holders.items():
        place = next((at for at, line in enumerate(lines) if _name_of(line) == thing), None)
        if place is None:
            continue
        entry = lines[place].strip()
        if holder in VESSELS:
            lines[place] = f"{_ARTICLE}{holder} (containing {entry})"
            continue
        begins = f"{_ARTICLE}{holder}. On the {holder} is: "
        stands = next((at for at, line in enumerate(lines) if line.startswith(begins)), None)
        if stands is None:
            lines[place] = f"{begins}{entry}."
        else:
            holds = lines[stands].removeprefix(begins)
            lines[stands] = f"{begins}{entry}." if holds.strip(". ") == "nothing" else f"{begins}{entry}, {holds}"
            del lines[place]
    return "\n".join(lines)


def _name_of(line: str) -> str:
    """The name of the thing in a line of a look, as prompts write it."""
    return _CONDITION.sub("", plain(line)) if line.startswith("\t") else ""
