"""Consistent renaming: examples whose names and numbers are changed throughout.

Names change so that models learn to copy instead of recite; numbers, so that they learn to compare; scores, so that
they do not read from them where a thing lies.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from training.datasets import Example
from training.worlds.words import made_up
from waymark.worlds.base import decision_of
from waymark.worlds.scienceworld.rules.risk import BOX

_WORD = re.compile(r"[a-z]+")
_LONG_WORD = re.compile(r"\b[a-z]{3,}\b")
_REAL = 0.35
"""Share of new names that are words of the corpus; the others are made up, so that no vocabulary knows them."""
_LONGER = 0.2
"""Share of new names that are two words, each a word of the corpus or made up."""
_BYSTANDERS = 0.06
"""Share of the things around that nobody has heard of either."""
_ALIKE = 0.12
"""Share of new names that share a word with something around, as `orange juice` does with an orange, and `tin` with a
tin cup."""
_SHORTER = 0.5
"""Share of these that are no more than the shared word, where nothing else is called that."""
_SWAPPED = 0.15
"""Share of examples in which what is named changes its name with one of the things around: what lies in every kitchen
of the training variations, and is never asked for there, is asked for elsewhere."""
_COMMON, _KNOWLEDGE = 0.25, 0.003
"""A word in more prompts than the first share, or in more answers that were not told it than the second, is no
bystander: it is how prompts are written, or what a model has to know."""
_ALWAYS = ("2-3", "3-4", "9-1", "9-2", "9-3")
"""Task types where what training variations show of a name (which surface is smooth, which unknown substance conducts)
is another thing elsewhere: only what is measured counts."""
_PAINTS = ("6-2", "6-3")
"""Task types that name a paint of which must be known what it is mixed of, until the first mixture stands in the
prompt or a sub-goal says it: then all is told."""
_PRIMARY = ("red", "yellow", "blue")
_MIXTURES = {
    "orange": frozenset({"red", "yellow"}),
    "green": frozenset({"yellow", "blue"}),
    "violet": frozenset({"red", "blue"}),
}
"""What the simulator's paints make. Colours change places so that this stays true: what training variations show of one
mixture, all are learnt from."""
_ANY_COLOUR = 0.5
_MIXED = "; mix "
"""How a `compact` prompt says that something was mixed after something else."""
_SHOWN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("4-1", "4-3", "4-4"), ("focus", "pick", "move")),
    "6-1": ("move", "pour"),
}
"""Task types and how answers of theirs begin that take what the prompt shows, whichever it is: any living thing, plant
or animal (which it is shows by what stands around its name), what the recipe says."""
_CIRCUITS = ("3-1", "3-2", "3-3", "3-4")
"""Task types that take whichever wires and lamps the prompt shows; of a source it must be known what it is."""
_COLOURED = re.compile(r"\b([a-z]+) (?:wire|light bulb)\b")
_LAMP = re.compile(r"\b[a-z]+ light bulb\b")
_POWERED = 0.3
"""Share of circuits that power something else than lamps."""
_STILL_COLOURS = 0.85
"""Share of wires, lamps and boxes that keep to colours when they are called otherwise."""
_COLOURS = "red orange yellow green blue violet purple black white brown grey pink".split()
_HATCHED = ("4-1", "4-4", "8-1")
"""Task types that take animals as they are listed, where training variations have eggs and others have young."""
_FORMS = ("{} egg", "baby {}", "juvenile {}", "{}")
_EGG = re.compile(r"(?:[,:]|\bhave) ((?:[a-z]+ )?[a-z]+) egg(?= [,|])")
"""An egg in a scene, and what it is of."""
_NUMBERED = "{}box"
_TRAIT = re.compile(r"whether ([a-z]+) (?:plant|seed|leaf|flower) ")
_WAITING = "wait_for"
"""How sub-goals begin whose actions name nothing."""
_KINDS = frozenset("metal cup wire light bulb battery".split())
"""Words that say what sort of a thing it is; shown alone, they are not told."""
_GRAMMAR = frozenset(
    "a at by nothing thing material to on in into with and containing inventory room the of first focus pick move pour "
    "wait substance unknown terminal anode cathode surface inclined plane seed plant box up boil melt freeze change "
    "baby juvenile adult egg hatchling seedling tree flower pot stage reproducing solid liquid "
    "battery wire light bulb electric motor buzzer solar panel wind gas nuclear generator "
    "water recipe thermometer stopwatch kitchen workshop living art studio bathroom bedroom greenhouse foundry "
    "outside hallway".split()
)
"""Words that stay: those between names, and what is called the same in every variation. Water comes from taps: were it
renamed, whatever nobody knows would be looked for there."""
_SCENE = " | room "
"""Where the `compact` format begins to say what is around."""
_LISTED = re.compile(r"(?:[:,(]|\b(?:holds|have)) ([a-z]+(?: [a-z]+)?)(?= [,()|])")
"""A thing with a name of one word or two in the scene of a `compact` prompt."""
_CONDITION = re.compile(r" (?:off|on|open|closed|deactivated|activated|holds)$")
"""What is told of a thing right after its name."""
_PLAIN = frozenset("wire bulb box".split())
"""Things that are told apart by their colours alone."""
_HERE = re.compile(r"(?<= \| here )[^|]+(?= \|)")
"""What a `compact` prompt tells of what is named and in sight."""
_HOLDERS = [*"table counter desk chair couch bed shelf drawer".split(), "large cupboard"]
_VESSELS = ["bowl", "jug", "wood cup", "glass jar"]
_HELD = 0.35
"""Share of examples in which what lies in a room lies on or in something: nearly nothing that training tasks ask for
does, while elsewhere it may lie among the wires on the workshop's table."""
_MELTED = ("1-1", "1-2", "1-3", "1-4", "2-1", "2-2", "2-3")
"""Task types that ask for substances: what lies in a vessel is liquid, and is carried in it."""
_UNKNOWN = re.compile(r"\b(?:(solid|liquid) )?unknown substance ([a-z])\b")
_ALIKE_TASKS = (*_MELTED, *_CIRCUITS, "4-2", "6-1")
"""Task types that ask for things; what shares a name with a plant or an animal may be one of its kind."""
_KNOWN = 0.5
"""Share of the examples of 2-3 that call their substance as those of 2-2 are, which its few do not show enough: `tin`
as it is found, and `liquid tin` once it has changed."""
_NUMBERS = {digits: re.compile(rf"(?<!- )\b\d(?: \d){{{digits - 1}}}(?= (?:degrees|down)\b)") for digits in (3, 4)}
"""Readings as the `compact` format writes them: percentages with three digits, temperatures with four."""
_HIGHEST = {3: 100, 4: 600}
_CLOSE, _APART = 0.6, 12
"""Share of examples whose readings lie within so many of each other on average, as those do that are hard to tell."""
_SCORE = re.compile(r"(?<=\bscore )\d+(?= \||$)")
_BEGUN, _ABOUT, _SHIFTED = 15, 5, 0.5
"""Points below the first are had for going where things are kept in training variations, elsewhere in others: any such
score may stand for any other. From there on, a share of the scores is off by up to so many."""
_POT = re.compile(r"(?<=\bflower pot )\d\b")
_POTS = "123456789"

_ANSWER = re.compile(r"(?:focus|move)[ _].*\b(?:box|inclined plane\b.*)")
"""What answers a task's question look like: they name a box or a plane."""


class Renamer:
    """Consistent renaming: words that the instruction names and the answer repeats get other names throughout.

    Test variations hold out substances, plants and components. A model that has learnt `water` as the answer
    boils water whatever it is told; one that has seen the named thing change its name learns to copy it.
    Names that have to be inferred stay, but where any of a kind will do. Wherever an instruction is given, its names
    change, whether this answer repeats them or not: else a word that nobody knows would always be the answer. Now and
    then something that merely stands around is renamed too.

    The boxes of an instruction, of which its answer is always the same one, are called otherwise in every example, all
    of them: else the answer is known by the instruction or, where it alone has a new name, by that.
    """

    def __init__(self, corpus: Sequence[Example], *, share: float, seed: int) -> None:
        self._share = share
        self._random = random.Random(seed)
        self._words: list[str] = sorted(
            {word for example in corpus for word in _LONG_WORD.findall(example.prompt)} - _GRAMMAR
        )
        self._inconsequential = _inconsequential(corpus)
        self._bystanders = self._inconsequential - _told(corpus)
        self._names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for example in corpus:
            self._names[example.task_id, example.instruction].update(_nameable(_numbered(example)))

    def reseed(self, seed: int) -> None:
        """Draw from here on as a renamer made with this seed would."""
        self._random.seed(seed)

    def __call__(self, example: Example) -> tuple[str, str]:
        """Prompt and target, renamed with the probability `share`, or always (`_ALWAYS`, `_PAINTS`)."""
        prompt, target = self._boxed(example, *self._called(_numbered(example)))
        return _SCORE.sub(self._score, prompt), target

    def _called(self, example: Example) -> tuple[str, str]:
        if example.task_id in _PAINTS:
            names = self._colours(told=_MIXED in example.prompt or _is_subgoal(example.instruction))
            return _replace(example.prompt, names), _replace(example.target, names)
        if example.task_id not in _ALWAYS and self._random.random() >= self._share:
            return example.prompt, example.target
        return self._renamed(example.prompt, example)

    def drill(self, example: Example) -> tuple[str, str] | None:
        """A copying drill: the instruction alone, always renamed; None where the answer needs more than that.

        Short, so ten times cheaper than the whole prompt, and nothing but copying solves it.
        """
        numbered = _numbered(example)
        instruction = numbered.prompt.split(" | ", 1)[0]
        known = _GRAMMAR | set(instruction.split())
        if not _nameable(example) or not known.issuperset(decision_of(numbered.target).split()[1:]):
            return None
        return self._boxed(example, *self._renamed(instruction, numbered))

    def _renamed(self, prompt: str, example: Example) -> tuple[str, str]:
        if example.task_id in _HATCHED:
            prompt, target = self._hatched(prompt, example.target)
            example = replace(example, target=target)
        if example.task_id == "2-3" and self._random.random() < _KNOWN:
            prompt, target = self._known(prompt, example)
            example = replace(example, target=target)
        words = set(prompt.split(" "))
        told = words & self._names[example.task_id, example.instruction]
        around = [word for word in sorted(words & self._bystanders - told) if self._random.random() < _BYSTANDERS]
        things = _things(prompt)
        alike = things if example.task_id in _ALIKE_TASKS else []
        names = {word: self._name(word, words, alike) for word in sorted(told)}
        names |= {word: self._name(word, words) for word in around}
        names |= self._swapped(prompt, things, example, told)
        if example.task_id in _CIRCUITS:
            names |= self._recoloured(prompt, words)
        prompt, target = self._repotted(*self._renumbered(prompt, example.target))
        prompt, target = self._held(_replace(prompt, names), example.task_id), _replace(target, names)
        return self._powered(prompt, target) if example.task_id in _CIRCUITS else (prompt, target)

    def _known(self, prompt: str, example: Example) -> tuple[str, str]:
        """The same with another name for the unknown substance that is asked for."""
        asked = _UNKNOWN.search(example.instruction.lower())
        if asked is None:
            return prompt, example.target
        name = self._name(asked[0], set(prompt.split(" ")), _things(prompt))

        def called(found: re.Match[str]) -> str:
            return name if found[1] in (None, asked[1]) else f"{found[1]} {name}"

        return _UNKNOWN.sub(called, prompt), _UNKNOWN.sub(called, example.target)

    def _held(self, prompt: str, task_id: str) -> str:
        """Now and then, what lies in the room told to lie on or in something."""
        if self._random.random() >= _HELD:
            return prompt
        holders = _HOLDERS if task_id in _MELTED else [*_HOLDERS, *_VESSELS]
        carried = prompt.partition(" | have ")[2]

        def somewhere(thing: str) -> str:
            lies = thing != "nothing" and not thing.endswith("box") and " in " not in thing and thing not in carried
            return f"{thing} in {self._random.choice(holders)}" if lies else thing

        return _HERE.sub(lambda told: " , ".join(map(somewhere, told[0].split(" , "))), prompt)

    def _swapped(self, prompt: str, things: Sequence[str], example: Example, told: set[str]) -> dict[str, str]:
        """Now and then, one of the told words changed for one of the things around, both ways: also for what other
        tasks ask for, where tasks ask for things."""
        words = Counter(prompt.split(" "))
        changeable = self._inconsequential if example.task_id in _ALIKE_TASKS else self._bystanders
        around = [
            thing
            for thing in things
            if changeable.issuperset(thing.split()) and not told.intersection(thing.split())
            # a word of one thing alone, so that no other loses it
            if " " not in thing or {words[word] for word in thing.split()} == {prompt.count(thing)}
        ]
        names = sorted(word for word in told if len(word) > 1)
        if not names or not around or self._random.random() >= _SWAPPED:
            return {}
        one, other = self._random.choice(names), self._random.choice(around)
        first, *rest = other.split()
        return {one: other, first: one, **dict.fromkeys(rest, "")}

    def _recoloured(self, prompt: str, taken: set[str]) -> dict[str, str]:
        """Other colours for all wires and lamps."""
        coloured = list(dict.fromkeys(_COLOURED.findall(prompt)))
        return dict(zip(coloured, self._coloured(len(coloured), taken), strict=False))

    def _boxed(self, example: Example, prompt: str, target: str) -> tuple[str, str]:
        """Other colours for the boxes that were numbered."""
        numbers = range(len(_several_boxes(example)))
        for number, colour in zip(numbers, self._coloured(len(numbers), set(prompt.split(" "))), strict=True):
            prompt, target = (text.replace(_NUMBERED.format(number), f"{colour} box") for text in (prompt, target))
        return prompt, target

    def _coloured(self, count: int, taken: set[str]) -> list[str]:
        """So many colours if there are, no two alike; now and then other words."""
        colours = self._random.sample(_COLOURS, min(count, len(_COLOURS)))
        return [colour if self._random.random() < _STILL_COLOURS else self._word(taken) for colour in colours]

    def _powered(self, prompt: str, target: str) -> tuple[str, str]:
        """Now and then, something else in place of a lamp throughout: a motor, a buzzer, what nobody knows."""
        lamps = sorted(set(_LAMP.findall(prompt)))
        if not lamps or self._random.random() >= _POWERED:
            return prompt, target
        named = [lamp for lamp in lamps if lamp in target] or lamps
        unknown = f"{made_up(self._random)} {made_up(self._random)}"
        lamp, other = self._random.choice(named), self._random.choice(["electric motor", "electric buzzer", unknown])
        return prompt.replace(lamp, other), target.replace(lamp, other)

    def _colours(self, *, told: bool) -> dict[str, str]:
        """Other colours that mix as these do; where what is needed is told, half of the time any names at all."""
        if told and self._random.random() < _ANY_COLOUR:
            return {colour: self._name(colour, set()) for colour in (*_PRIMARY, *_MIXTURES)}
        primary = dict(zip(_PRIMARY, self._random.sample(_PRIMARY, len(_PRIMARY)), strict=True))
        mixture = {parts: name for name, parts in _MIXTURES.items()}
        return primary | {
            name: mixture[frozenset(primary[part] for part in parts)] for name, parts in _MIXTURES.items()
        }

    def _hatched(self, prompt: str, target: str) -> tuple[str, str]:
        """The same with each kind of egg at another age throughout."""
        for animal in sorted(set(_EGG.findall(prompt))):
            egg, form = re.compile(rf"\b{animal} egg\b"), self._random.choice(_FORMS).format(animal)
            prompt, target = egg.sub(form, prompt), egg.sub(form, target)
        return prompt, target

    def _repotted(self, prompt: str, target: str) -> tuple[str, str]:
        """The same with the flower pots numbered anew."""
        numbers = dict(zip(_POTS, self._random.sample(_POTS, len(_POTS)), strict=True))
        return _POT.sub(lambda pot: numbers[pot[0]], prompt), _POT.sub(lambda pot: numbers[pot[0]], target)

    def _renumbered(self, prompt: str, target: str) -> tuple[str, str]:
        """Other readings in the same order: which is greater stays, how great it is does not."""
        for digits, pattern in _NUMBERS.items():
            told = sorted(set(pattern.findall(prompt)))
            if len(told) > 1:
                drawn = sorted(self._random.sample(self._range(_HIGHEST[digits], len(told)), len(told)))
                new = {old: " ".join(str(value).zfill(digits)) for old, value in zip(told, drawn, strict=True)}
                prompt, target = (
                    pattern.sub(lambda found, new=new: new.get(found.group(0), found.group(0)), text)  # type: ignore[misc]
                    for text in (prompt, target)
                )
        return prompt, target

    def _range(self, highest: int, count: int) -> range:
        """What the readings are drawn from."""
        if self._random.random() >= _CLOSE:
            return range(highest)
        span = min(highest, count * _APART)
        lowest = self._random.randrange(highest - span + 1)
        return range(lowest, lowest + span)

    def _score(self, shown: re.Match[str]) -> str:
        """Another score that says as much of how far the task is."""
        score = int(shown[0])
        if score < _BEGUN:
            return str(self._random.randrange(_BEGUN))
        if self._random.random() < _SHIFTED:
            score = min(99, max(_BEGUN, score + self._random.randint(-_ABOUT, _ABOUT)))
        return str(score)

    def _name(self, word: str, taken: set[str], things: Sequence[str] = ()) -> str:
        if len(word) == 1:
            return self._random.choice("abcdefghijklmnopqrstuvwxyz")
        if things and self._random.random() < _ALIKE:
            return self._like(self._random.choice(things), taken, things)
        words = 2 if self._random.random() < _LONGER else 1
        return " ".join(self._word(taken) for _ in range(words))

    def _like(self, thing: str, taken: set[str], things: Sequence[str]) -> str:
        """A name that begins as this thing's does, or is no more than that if none of these things is called so."""
        first = thing.split(maxsplit=1)[0]
        return first if first not in things and self._random.random() < _SHORTER else f"{first} {self._word(taken)}"

    def _word(self, taken: set[str]) -> str:
        if self._words and self._random.random() < _REAL:
            word = self._random.choice(self._words)
            if word not in taken:
                return word
        return made_up(self._random)


def boxes(instruction: str) -> list[str]:
    """The boxes that an instruction names, each once."""
    return list(dict.fromkeys(BOX.findall(instruction.lower())))


def is_answer(example: Example) -> bool:
    """Whether a decision answers the task's question: it names one of the boxes or planes that the task names."""
    chosen = len(boxes(example.instruction)) > 1 or "inclined planes" in example.instruction.lower()
    return chosen and bool(_ANSWER.fullmatch(decision_of(example.target)))


def _several_boxes(example: Example) -> list[str]:
    """Those that an answer has to choose from."""
    named = boxes(example.instruction)
    return named if len(named) > 1 else []


def _numbered(example: Example) -> Example:
    """The same with numbers for the boxes to choose from, which no other rule takes for names."""
    numbers = {box: _NUMBERED.format(number) for number, box in enumerate(_several_boxes(example))}
    if not numbers:
        return example
    prompt, target = (
        BOX.sub(lambda box: numbers.get(box[0], box[0]), text) for text in (example.prompt, example.target)
    )
    return replace(example, prompt=prompt, target=target)


def _is_subgoal(instruction: str) -> bool:
    return instruction.endswith(")")


def _nameable(example: Example) -> list[str]:
    """Words that both the instruction and the answer hold, the answer's verb and grammar words excluded.

    Where any of a kind will do, what the prompt shows counts as told. What is waited for is looked for, whatever it is
    called; so is the trait that a cross is to show. Which paints make which is to be known.
    """
    if example.task_id in _PAINTS:
        return []
    told = set(_WORD.findall(example.instruction.lower()))
    decision = decision_of(example.target)
    if decision.startswith(_SHOWN.get(example.task_id, ())):
        told.update(set(example.prompt.split(" ")) - _KINDS)
    if example.task_id in _CIRCUITS:
        told.update(_COLOURED.findall(example.prompt))
    answer = list(told) if example.instruction.startswith(_WAITING) else decision.split()[1:]
    answer += _TRAIT.findall(example.instruction.lower())
    return [word for word in dict.fromkeys(answer) if word in told and _WORD.fullmatch(word) and word not in _GRAMMAR]


def _inconsequential(corpus: Sequence[Example]) -> frozenset[str]:
    """Words of scenes on which no answer depends that was not told them."""
    shown, inferred = Counter[str](), Counter[str]()
    for example in corpus:
        shown.update(set(_LONG_WORD.findall(example.prompt.partition(_SCENE)[2])))
        inferred.update(set(decision_of(example.target).split()[1:]) - set(_WORD.findall(example.instruction.lower())))
    common, knowledge = _COMMON * len(corpus), _KNOWLEDGE * len(corpus)
    found = {word for word, count in shown.items() if count < common and inferred[word] < knowledge}
    return frozenset(found - _GRAMMAR)


def _told(corpus: Sequence[Example]) -> set[str]:
    """Words of instructions, and the verbs of answers."""
    instructions = {example.instruction.lower() for example in corpus}
    verbs = {decision_of(example.target).split(" ", 1)[0] for example in corpus}
    return verbs.union(*map(_WORD.findall, instructions))


def _things(prompt: str) -> list[str]:
    """The names, of a word or two, of things in the scene and carried: none that begins as all prompts are written, nor
    what is called by its colour."""
    told = {_CONDITION.sub("", thing) for thing in _LISTED.findall(prompt.partition(_SCENE)[2])}
    return sorted(thing for thing in told if thing.split()[0] not in _GRAMMAR and thing.split()[-1] not in _PLAIN)


def _replace(text: str, names: dict[str, str]) -> str:
    """The words called otherwise; those without a name go."""
    return " ".join(name for word in text.split(" ") if (name := names.get(word, word)) or not word)
