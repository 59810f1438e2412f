"""Finds the words and things in a decision that may get new names.

A decision is read as the format `compact` writes it, because there a name is written in the same way everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from training.datasets import Example
from waymark.worlds.base import decision_of
from waymark.worlds.scienceworld.prompts.compact import COMPACT
from waymark.worlds.scienceworld.scene import BOX, OTHER_THINGS

PAINTS: Final = ("6-2", "6-3")
"""Task types that name a paint whose ingredients a model must know, until the prompt shows the first mixture or a
sub-goal names them."""
CIRCUITS: Final = ("3-1", "3-2", "3-3", "3-4")
"""Task types that use any wires and lamps that the prompt shows. The kind of a power source must be known."""
_SHOWN: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("4-1", "4-3", "4-4"), ("focus", "pick", "move")),
    "6-1": ("move", "pour"),
}
"""By task type, the verbs of answers that may take any fitting thing of the prompt: any living thing, plant or animal
(the words around its name say which it is), or an ingredient of the recipe."""
_COMMON, _KNOWLEDGE = 0.25, 0.003
"""A word is not renamed if more than the first share of prompts contain it, because it belongs to the prompt format; or
if more than the second share of answers contain it without the instruction naming it, because a model must know it."""
_WAITING: Final = "wait_for"
"""Beginning of sub-goals whose actions name no thing."""
_KINDS: Final = frozenset("metal cup wire light bulb battery".split())
"""Words for kinds of things. That the prompt shows such a word does not tell a model which thing to take."""
GRAMMAR: Final = frozenset(
    "a at by nothing thing material to on in into with and containing inventory room the of first focus pick move pour "
    "wait substance unknown terminal anode cathode surface inclined plane seed plant box up boil melt freeze change "
    "baby juvenile adult egg hatchling seedling tree flower pot stage reproducing solid liquid "
    "battery wire light bulb electric motor buzzer solar panel wind gas nuclear generator "
    "water recipe thermometer stopwatch kitchen workshop living art studio bathroom bedroom greenhouse foundry "
    "outside hallway "
    "this is it you see also called air agent ground which turned off open closed activated deactivated door currently "
    "reading temperature degrees celsius titled location that approximately down".split()
)
"""Words that never change: those between names, and names that are the same in every variation. Water comes from taps.
If it were renamed, a model would learn to look for unknown things there. The words of the last two lines are those
with which the simulator writes scenes. If they were renamed, a scene could not be parsed."""
_MIXED: Final = "; mix "
"""Text of a prompt for a mixture that was made after another action."""
_SCENE: Final = " | room "
"""Text with which the description of the scene begins in a prompt."""
PART: Final = " | "
"""Separator of the parts of a prompt. The first part is the instruction."""
_WORD: Final = re.compile(r"[a-z]+")
_LONG_WORD: Final = re.compile(r"\b[a-z]{3,}\b")
_TRAIT: Final = re.compile(r"whether ([a-z]+) (?:plant|seed|leaf|flower) ")
_COLOURED: Final = re.compile(r"\b([a-z]+) (?:wire|light bulb)\b")
_EGG: Final = re.compile(r"(?:[,:]|\bhave) ((?:[a-z]+ )?[a-z]+) egg(?= [,|])")
"""An egg in a scene; the group is its animal."""
_LISTED: Final = re.compile(r"(?:[:,(]|\b(?:holds|have)) ([a-z]+(?: [a-z]+)?)(?= [,()|])")
"""A thing with a name of one word or two in a scene."""
_CONDITION: Final = re.compile(r" (?:off|on|open|closed|deactivated|activated|holds)$")
"""The condition of a thing, which follows its name."""
_PLAIN: Final = frozenset("wire bulb box".split())
"""Things that are distinguished by colour alone."""
_HERE: Final = re.compile(r"(?<= \| here )[^|]+(?= \|)")
"""The part of a prompt that lists the things of the instruction in sight."""
_CACHED_INSTRUCTIONS: Final = 10_000
_ANSWER: Final = re.compile(r"(?:focus|move)[ _].*\b(?:box|inclined plane\b.*)")
"""A decision that answers the question of a task: it names a box or a plane."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One decision as `compact` writes it."""

    task_id: str
    instruction: str
    """The sub-goal for an executor, otherwise the task, as it was given."""
    prompt: str
    target: str

    @classmethod
    def of(cls, example: Example) -> Shown:
        """Read an example. Published data have no decision, so their own prompt and target are read."""
        source = example.source
        if source is None or source.prompt_format is COMPACT:
            return cls(example.task_id, example.instruction, example.prompt, example.target)
        return cls(example.task_id, example.instruction, *source.decision.written(source.role, COMPACT))

    @property
    def words(self) -> set[str]:
        """All words of the prompt."""
        return set(self.prompt.split(" "))

    @property
    def instruction_shown(self) -> str:
        """The instruction as the prompt writes it, without clauses that readings have excluded."""
        return self.prompt.split(PART, 1)[0]

    @property
    def is_subgoal(self) -> bool:
        """Whether the instruction is a sub-goal, that is, the example is one of an executor."""
        return self.instruction.endswith(")")

    @property
    def is_mixed(self) -> bool:
        """Whether paints have been mixed, or a sub-goal says which paints to mix."""
        return _MIXED in self.prompt or self.is_subgoal

    @property
    def scene(self) -> str:
        """The part of the prompt from the scene on, with the inventory, up to the end."""
        return self.prompt.partition(_SCENE)[2]

    def things(self) -> list[str]:
        """Names of one or two words of things in the scene and inventory, sorted. Names that begin with a grammar word
        and things named by their colour are left out."""
        names = {_CONDITION.sub("", thing) for thing in _LISTED.findall(self.scene)}
        return sorted(thing for thing in names if thing.split()[0] not in GRAMMAR and thing.split()[-1] not in _PLAIN)

    def eggs(self) -> list[str]:
        """The animals of which an egg is in sight."""
        return sorted(set(_EGG.findall(self.prompt)))

    def coloured(self) -> list[str]:
        """The colours of wires and lamps, each once."""
        return list(dict.fromkeys(_COLOURED.findall(self.prompt)))

    def named_here(self) -> list[str]:
        """Things of the instruction that lie openly in the room: not in another thing, not carried, no boxes."""
        match = _HERE.search(self.prompt)
        carried = self.prompt.partition(" | have ")[2]
        return [
            thing
            for thing in (match[0].split(" , ") if match else [])
            if thing != "nothing" and not thing.endswith("box") and " in " not in thing and thing not in carried
        ]

    def nameable(self) -> list[str]:
        """Words that stand both in the instruction and in the answer, without the answer's verb and grammar words.

        If any thing of a kind is right, the words of the prompt count as words of the instruction. In a sub-goal to
        wait, all words of the instruction may change. The trait that a task on plant genetics asks for may change too.
        There are none in tasks that mix paints, because a model must know which paints make which.
        """
        if self.task_id in PAINTS:
            return []
        known = set(_WORD.findall(self.instruction.lower()))
        decision = decision_of(self.target)
        if decision.startswith(_SHOWN.get(self.task_id, ())):
            known.update(self.words - _KINDS)
        if self.task_id in CIRCUITS:
            known.update(_COLOURED.findall(self.prompt))
        answer = list(known) if self.instruction.startswith(_WAITING) else decision.split()[1:]
        answer += self.traits()
        return [
            word for word in dict.fromkeys(answer) if word in known and _WORD.fullmatch(word) and word not in GRAMMAR
        ]

    def traits(self) -> list[str]:
        """The trait whose inheritance the task asks for, if any."""
        return _TRAIT.findall(self.instruction.lower())

    def kinds(self) -> list[tuple[str, str]]:
        """Names of two words in the instruction whose last word is their kind. `orange juice` is not an orange."""
        words = _WORD.findall(self.instruction.lower())
        return [(first, kind) for first, kind in pairwise(words) if kind in OTHER_THINGS and first not in GRAMMAR]

    def is_told_by(self, text: str) -> bool:
        """Whether all words of the answer except its verb stand in a text or are grammar words."""
        known = GRAMMAR | set(text.split())
        return known.issuperset(decision_of(self.target).split()[1:])


@lru_cache(_CACHED_INSTRUCTIONS)
def several_boxes(instruction: str) -> tuple[str, ...]:
    """The boxes that an instruction names, each once; empty unless there are at least two to choose from."""
    named = tuple(dict.fromkeys(BOX.findall(instruction.lower())))
    return named if len(named) > 1 else ()


def is_answer(example: Example) -> bool:
    """Whether a decision answers the task's question: it names one of the boxes or planes that the task names."""
    chosen = bool(several_boxes(example.instruction)) or "inclined planes" in example.instruction.lower()
    return chosen and bool(_ANSWER.fullmatch(decision_of(example.target)))


def words_of(corpus: Sequence[Shown]) -> list[str]:
    """All words of at least three letters in the prompts, sorted, without grammar words."""
    return sorted({word for shown in corpus for word in _LONG_WORD.findall(shown.prompt)} - GRAMMAR)


def inconsequential(corpus: Sequence[Shown]) -> frozenset[str]:
    """Words of scenes that may be renamed, because no answer depends on them unless the instruction names them."""
    counts, inferred = Counter[str](), Counter[str]()
    for shown in corpus:
        counts.update(set(_LONG_WORD.findall(shown.scene)))
        inferred.update(set(decision_of(shown.target).split()[1:]) - set(_WORD.findall(shown.instruction.lower())))
    common, knowledge = _COMMON * len(corpus), _KNOWLEDGE * len(corpus)
    return frozenset(word for word, count in counts.items() if count < common and inferred[word] < knowledge) - GRAMMAR


def words_told(corpus: Collection[Shown]) -> set[str]:
    """All words of instructions, and the verbs of answers."""
    instructions = {shown.instruction.lower() for shown in corpus}
    verbs = {decision_of(shown.target).split(" ", 1)[0] for shown in corpus}
    return verbs.union(*map(_WORD.findall, instructions))
