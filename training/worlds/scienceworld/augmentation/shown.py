"""What a decision shows, in plain words: the words and things in it that may be called otherwise.

A decision is read as `compact` writes it, because there a name looks the same wherever it stands.
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
from waymark.worlds.scienceworld.rules.risk import BOX
from waymark.worlds.scienceworld.scene import OTHER_THINGS

PAINTS: Final = ("6-2", "6-3")
"""Task types that name a paint of which must be known what it is mixed of, until the first mixture stands in the
prompt or a sub-goal says it: then all is told."""
CIRCUITS: Final = ("3-1", "3-2", "3-3", "3-4")
"""Task types that take whichever wires and lamps the prompt shows; of a source it must be known what it is."""
_SHOWN: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("4-1", "4-3", "4-4"), ("focus", "pick", "move")),
    "6-1": ("move", "pour"),
}
"""Task types and how answers of theirs begin that take what the prompt shows, whichever it is: any living thing, plant
or animal (which it is shows by what stands around its name), what the recipe says."""
_COMMON, _KNOWLEDGE = 0.25, 0.003
"""A word in more prompts than the first share, or in more answers that were not told it than the second, is no
bystander: it is how prompts are written, or what a model has to know."""
_WAITING: Final = "wait_for"
"""How sub-goals begin whose actions name nothing."""
_KINDS: Final = frozenset("metal cup wire light bulb battery".split())
"""Words that say what sort of a thing it is; shown alone, they are not told."""
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
"""Words that stay: those between names, and what is called the same in every variation. Water comes from taps: were it
renamed, whatever nobody knows would be looked for there. The words of the last two lines are how the simulator writes
scenes: were they renamed, no scene could be read any more."""
_MIXED: Final = "; mix "
"""How a prompt says that something was mixed after something else."""
_SCENE: Final = " | room "
"""Where a prompt begins to say what is around."""
PART: Final = " | "
"""Between the parts of a prompt, of which the instruction is the first."""
_WORD: Final = re.compile(r"[a-z]+")
_LONG_WORD: Final = re.compile(r"\b[a-z]{3,}\b")
_TRAIT: Final = re.compile(r"whether ([a-z]+) (?:plant|seed|leaf|flower) ")
_COLOURED: Final = re.compile(r"\b([a-z]+) (?:wire|light bulb)\b")
_EGG: Final = re.compile(r"(?:[,:]|\bhave) ((?:[a-z]+ )?[a-z]+) egg(?= [,|])")
"""An egg in a scene, and what it is of."""
_LISTED: Final = re.compile(r"(?:[:,(]|\b(?:holds|have)) ([a-z]+(?: [a-z]+)?)(?= [,()|])")
"""A thing with a name of one word or two in a scene."""
_CONDITION: Final = re.compile(r" (?:off|on|open|closed|deactivated|activated|holds)$")
"""What is told of a thing right after its name."""
_PLAIN: Final = frozenset("wire bulb box".split())
"""Things that are told apart by their colours alone."""
_HERE: Final = re.compile(r"(?<= \| here )[^|]+(?= \|)")
"""What a prompt tells of what is named and in sight."""
_CACHED_INSTRUCTIONS: Final = 10_000
_ANSWER: Final = re.compile(r"(?:focus|move)[ _].*\b(?:box|inclined plane\b.*)")
"""What answers a task's question look like: they name a box or a plane."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One decision as `compact` writes it."""

    task_id: str
    instruction: str
    """As it was given: an executor's sub-goal, else the task."""
    prompt: str
    target: str

    @classmethod
    def of(cls, example: Example) -> Shown:
        """What an example shows. Published data, of which no decision is known, show what they say."""
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
        """The instruction as the prompt has it: without clauses that are ruled out."""
        return self.prompt.split(PART, 1)[0]

    @property
    def is_subgoal(self) -> bool:
        """Whether the instruction is an executor's."""
        return self.instruction.endswith(")")

    @property
    def is_mixed(self) -> bool:
        """Whether paints were mixed, or a sub-goal says which are to be."""
        return _MIXED in self.prompt or self.is_subgoal

    @property
    def scene(self) -> str:
        """What is around and carried, and what follows it."""
        return self.prompt.partition(_SCENE)[2]

    def things(self) -> list[str]:
        """The names, of a word or two, of things in the scene and carried: none that begins as all prompts are written,
        nor what is called by its colour."""
        names = {_CONDITION.sub("", thing) for thing in _LISTED.findall(self.scene)}
        return sorted(thing for thing in names if thing.split()[0] not in GRAMMAR and thing.split()[-1] not in _PLAIN)

    def eggs(self) -> list[str]:
        """The animals of which an egg is in sight."""
        return sorted(set(_EGG.findall(self.prompt)))

    def coloured(self) -> list[str]:
        """The colours of wires and lamps, each once."""
        return list(dict.fromkeys(_COLOURED.findall(self.prompt)))

    def named_here(self) -> list[str]:
        """The things in sight that the instruction names and that lie in the room: neither in a thing nor carried, and
        no boxes."""
        match = _HERE.search(self.prompt)
        carried = self.prompt.partition(" | have ")[2]
        return [
            thing
            for thing in (match[0].split(" , ") if match else [])
            if thing != "nothing" and not thing.endswith("box") and " in " not in thing and thing not in carried
        ]

    def nameable(self) -> list[str]:
        """Words that both the instruction and the answer hold, the answer's verb and grammar words excluded.

        Where any of a kind will do, what the prompt shows counts as told. What is waited for is looked for, whatever it
        is called; so is the trait that a cross is to show. Which paints make which is to be known.
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
        """The trait that a cross is to show."""
        return _TRAIT.findall(self.instruction.lower())

    def kinds(self) -> list[tuple[str, str]]:
        """Names in the instruction whose last word says what sort of a thing it is: `orange juice` is no orange."""
        words = _WORD.findall(self.instruction.lower())
        return [(first, kind) for first, kind in pairwise(words) if kind in OTHER_THINGS and first not in GRAMMAR]

    def is_told_by(self, text: str) -> bool:
        """Whether all words of the answer but its verb stand in a text or are grammar."""
        known = GRAMMAR | set(text.split())
        return known.issuperset(decision_of(self.target).split()[1:])


@lru_cache(_CACHED_INSTRUCTIONS)
def several_boxes(instruction: str) -> tuple[str, ...]:
    """The boxes that an instruction names, each once, if there are several for an answer to choose from."""
    named = tuple(dict.fromkeys(BOX.findall(instruction.lower())))
    return named if len(named) > 1 else ()


def is_answer(example: Example) -> bool:
    """Whether a decision answers the task's question: it names one of the boxes or planes that the task names."""
    chosen = bool(several_boxes(example.instruction)) or "inclined planes" in example.instruction.lower()
    return chosen and bool(_ANSWER.fullmatch(decision_of(example.target)))


def words_of(corpus: Sequence[Shown]) -> list[str]:
    """The words of all prompts, from three letters."""
    return sorted({word for shown in corpus for word in _LONG_WORD.findall(shown.prompt)} - GRAMMAR)


def inconsequential(corpus: Sequence[Shown]) -> frozenset[str]:
    """Words of scenes on which no answer depends that was not told them."""
    counts, inferred = Counter[str](), Counter[str]()
    for shown in corpus:
        counts.update(set(_LONG_WORD.findall(shown.scene)))
        inferred.update(set(decision_of(shown.target).split()[1:]) - set(_WORD.findall(shown.instruction.lower())))
    common, knowledge = _COMMON * len(corpus), _KNOWLEDGE * len(corpus)
    return frozenset(word for word, count in counts.items() if count < common and inferred[word] < knowledge) - GRAMMAR


def words_told(corpus: Collection[Shown]) -> set[str]:
    """Words of instructions, and the verbs of answers."""
    instructions = {shown.instruction.lower() for shown in corpus}
    verbs = {decision_of(shown.target).split(" ", 1)[0] for shown in corpus}
    return verbs.union(*map(_WORD.findall, instructions))
