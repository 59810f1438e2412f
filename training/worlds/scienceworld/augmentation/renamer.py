"""Draws for each example which names, numbers and places of its decision change."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from training.datasets import Decision, Example, Source
from training.worlds.made_up_words import made_up
from training.worlds.scienceworld.augmentation.new_names import NewNames
from training.worlds.scienceworld.augmentation.renameable_words import (
    CIRCUITS,
    PAINTS,
    PART,
    Shown,
    inconsequential,
    several_boxes,
    words_of,
    words_told,
)
from training.worlds.scienceworld.augmentation.rewrites import (
    UNKNOWN,
    VESSELS,
    Boxes,
    Names,
    Phrases,
    Pots,
    Readings,
    Rewrite,
    Unknown,
    changed,
)

_BYSTANDERS: Final = 0.06
"""Share of the other things in the scene that get new names too."""
_SWAPPED: Final = 0.15
"""Share of examples in which the thing of the task exchanges names with another thing in the scene. Some things lie in
every kitchen of the training variations and are asked for only in other variations."""
_ALWAYS: Final = ("2-3", "3-4", "9-1", "9-2", "9-3")
"""Task types whose names always change. A property of a name in training variations (which surface is smooth, which
unknown substance conducts) is different in other variations, so only measurements count."""
_PRIMARY: Final = ("red", "yellow", "blue")
_MIXTURES: Final = {
    "orange": frozenset({"red", "yellow"}),
    "green": frozenset({"yellow", "blue"}),
    "violet": frozenset({"red", "blue"}),
}
"""What the simulator's paints make. Colours exchange names only so that this stays true. So a model learns all mixtures
from each one that training variations show."""
_ANY_COLOUR: Final = 0.5
_LAMP: Final = re.compile(r"\b[a-z]+ light bulb\b")
_POWERED: Final = 0.3
"""Share of circuits in which a motor or buzzer replaces a lamp."""
_HATCHED: Final = ("4-1", "4-4", "8-1")
"""Task types in which animals get any age. Training variations show eggs where other variations show young animals."""
_FORMS: Final = ("{} egg", "baby {}", "juvenile {}", "{}")
_NUMBERED: Final = "{}box"
"""Name of a box until its new colour is drawn. No other change treats it as a name."""
_HOLDERS: Final = [*"table counter desk chair couch bed shelf drawer".split(), "large cupboard"]
_HELD: Final = 0.35
"""Share of examples in which the things of the task are put on furniture or into a vessel. In training variations they
nearly always lie openly in the room. In others they may lie among the wires on the workshop's table."""
_MELTED: Final = ("1-1", "1-2", "1-3", "1-4", "2-1", "2-2", "2-3")
"""Task types that ask for substances. They are not put into vessels, because a substance in a vessel is liquid and is
carried with the vessel."""
_ALIKE_TASKS: Final = (*_MELTED, *CIRCUITS, "4-2", "6-1")
"""Task types whose new names may share a word with a thing in the scene. In the others such a name might be read as a
kind of that plant or animal."""
_KNOWN: Final = 0.5
"""Share of the examples of 2-3 whose unknown substance gets a name as in 2-2: `tin` as it is found, and `liquid tin`
after it has changed its state. 2-3 has too few examples of its own."""
_DOWN: Final = re.compile(r"(?<!\d )\b\d \d \d(?= down\b)")
_DEGREES: Final = re.compile(r"(?<!- )(?<!\d )\b\d \d \d \d(?= degrees\b)")
"""Readings as prompts write them, digit by digit: percentages with three digits, temperatures with four."""
_STEEPEST, _HOTTEST = 100, 600
_CLOSE, _APART = 0.6, 12
"""Share of examples whose new readings are close together, and their mean distance at most (percent or degrees). Close
readings are hard to compare."""
_BEGUN, _ABOUT, _SHIFTED = 15, 5, 0.5
"""A score below the first value is replaced by any other below it, because these points are given for reaching a place
that differs between variations. Of the higher scores the share `_SHIFTED` changes by up to `_ABOUT` points."""
_POTS: Final = "123456789"


class _Change:
    """The changes drawn for one example, and what the example shows after the rewrites made so far."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.rewrites: list[Rewrite] = []
        self.holders: dict[str, str] = {}

    def rewrite_first(self, rewrite: Rewrite) -> None:
        """Add a rewrite and apply it now, so that names drawn later are for the rewritten prompt."""
        self.rewrites.append(rewrite)
        prompt, target = rewrite(self.shown.prompt), rewrite(self.shown.target)
        self.shown = replace(self.shown, prompt=prompt, target=target)

    def made(self, decision: Decision, score: int) -> Decision:
        """A decision with all these changes."""
        return changed(decision, self.rewrites, score, self.holders)


class Renamer:
    """Consistent renaming: words that stand in the instruction and in the answer get other names everywhere.

    Test variations have substances, plants and components that training never shows. A model that has learnt `water`
    as the answer boils water whatever the task says. A model that has seen the thing of the task under many names
    learns to copy it. Names that a model must infer do not change, except where any thing of a kind is right. The names
    of an instruction change in all its examples, also where the answer does not repeat them. Otherwise an unknown word
    would always be the answer. For the same reason some other things in the scene are renamed too.

    All boxes of an instruction get new names in every example. The right box of an instruction is always the same one.
    A model would otherwise recognise it by the instruction or, if it alone were renamed, by its new name.
    """

    def __init__(self, corpus: Sequence[Example], *, share: float, seed: int) -> None:
        self._share = share
        self._random = random.Random(seed)
        shown = [Shown.of(example) for example in corpus]
        self._new = NewNames(self._random, words_of(shown))
        self._inconsequential = inconsequential(shown)
        self._bystanders = self._inconsequential - words_told(shown)
        self._names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for shown_example in shown:
            self._names[shown_example.task_id, shown_example.instruction].update(
                _numbered(shown_example).shown.nameable()
            )

    def reseed(self, seed: int) -> None:
        """Restart the random draws from this seed."""
        self._random.seed(seed)

    def __call__(self, example: Example) -> Decision:
        """The example's decision, renamed with the probability `share`, or always (`_ALWAYS`, `PAINTS`).

        Raises ValueError for an example of which no decision is known: published data are not changed.
        """
        source = _source_of(example)
        change = _numbered(Shown.of(example))
        if example.task_id in PAINTS:
            change.rewrites.append(Names(self._colours(is_told=change.shown.is_mixed)))
        elif example.task_id in _ALWAYS or self._random.random() < self._share:
            self._rename(change)
        self._colour_boxes(change)
        return change.made(source.decision, self._score(source))

    def is_drillable(self, example: Example) -> bool:
        """Whether a copying drill can be made of an example."""
        shown = Shown.of(example)
        change = _numbered(shown)
        known = change.shown.instruction_shown
        return example.source is not None and bool(shown.nameable()) and change.shown.is_told_by(known)

    def drill(self, example: Example) -> tuple[str, str]:
        """A copying drill: prompt and target of the instruction alone, always renamed.

        It costs a tenth of the whole prompt, and only copying solves it. The example must be one for which
        `is_drillable` is true, in a format whose prompts begin with the instruction.
        """
        source = _source_of(example)
        change = _numbered(Shown.of(example))
        change.shown = replace(change.shown, prompt=change.shown.instruction_shown)
        self._rename(change)
        self._colour_boxes(change)
        decision = source.decision
        if " if " not in change.shown.prompt:  # what the prompt keeps of the instruction does not depend on readings
            bare = decision.state.model_copy(update={"turns": (), "look": "", "inventory": "", "observation": ""})
            decision = replace(decision, state=bare)
        prompt, target = source.written(change.made(decision, decision.state.score))
        return prompt.split(PART, 1)[0], target

    def _rename(self, change: _Change) -> None:
        task_id = change.shown.task_id
        if task_id in _HATCHED:
            for animal in change.shown.eggs():
                change.rewrite_first(Phrases({f"{animal} egg": self._random.choice(_FORMS).format(animal)}, "egg"))
        if task_id == "2-3" and self._random.random() < _KNOWN:
            self._know(change)
        names = self._drawn_names(change.shown)
        self._renumber(change)
        change.rewrites.append(Pots(dict(zip(_POTS, self._random.sample(_POTS, len(_POTS)), strict=True))))
        change.rewrites.append(names)
        self._hold(change, names)
        if task_id in CIRCUITS:
            self._power(change, names)

    def _drawn_names(self, shown: Shown) -> Names:
        """New names for the things of the instruction, for some others in the scene, and for wires and lamps."""
        words = shown.words
        named = words & self._names[shown.task_id, shown.instruction]
        around = [word for word in sorted(words & self._bystanders - named) if self._random.random() < _BYSTANDERS]
        things = shown.things()
        alike = things if shown.task_id in _ALIKE_TASKS else []
        letters = sorted(word for word in named if len(word) == 1)
        names = {word: self._new.name(words, alike) for word in sorted(named.difference(letters))}
        names |= dict(zip(letters, self._new.letters(len(letters), words), strict=True))
        names |= {word: self._new.name(words) for word in around}
        names |= {word: self._new.word(words) for word in shown.traits() if word in names}
        kinds = [(first, kind) for first, kind in shown.kinds() if first in names and kind in names]
        phrases = {f"{first} {kind}": f"{names.pop(first)} {names[kind]}" for first, kind in kinds}
        asked = sorted({*phrases, *named.difference(letters, *kinds)})
        if swapped := self._swapped(shown, things, asked):
            for name, other_name in (swapped, swapped[::-1]):
                (phrases if " " in name else names)[name] = other_name
        if shown.task_id in CIRCUITS:
            coloured = shown.coloured()
            names |= dict(zip(coloured, self._new.colours(len(coloured), words), strict=False))
        return Names(names, phrases)

    def _know(self, change: _Change) -> None:
        """Give the unknown substance of the task a name like a known one."""
        asked = UNKNOWN.search(change.shown.instruction.lower())
        if asked:
            change.rewrite_first(Unknown(self._new.name(change.shown.words, change.shown.things()), asked[1]))

    def _hold(self, change: _Change, names: Names) -> None:
        """With the probability `_HELD`, put the things of the task that lie in the room on or into something."""
        if self._random.random() >= _HELD:
            return
        holders = _HOLDERS if change.shown.task_id in _MELTED else [*_HOLDERS, *VESSELS]
        change.holders = {names(thing): self._random.choice(holders) for thing in change.shown.named_here()}

    def _swapped(self, shown: Shown, things: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
        """With the probability `_SWAPPED`, a name of the instruction and a thing of the scene that exchange names. In
        `_ALIKE_TASKS` the thing may be one that other tasks ask for."""
        named = {word for name in names for word in name.split()}
        if not names or self._random.random() >= _SWAPPED:
            return None
        words = Counter(shown.prompt.split(" "))
        changeable = self._inconsequential if shown.task_id in _ALIKE_TASKS else self._bystanders
        around = [
            thing
            for thing in things
            if changeable.issuperset(thing.split()) and not named.intersection(thing.split())
            # each word belongs to this thing alone, so no other thing loses a word
            if " " not in thing or {words[word] for word in thing.split()} == {shown.prompt.count(thing)}
        ]
        return (self._random.choice(names), self._random.choice(around)) if around else None

    def _colour_boxes(self, change: _Change) -> None:
        """Give the numbered boxes their new colours."""
        count = len(several_boxes(change.shown.instruction))
        if count:
            colours = self._new.colours(count, change.shown.words)
            change.rewrites.append(
                Phrases({_NUMBERED.format(at): f"{colour} box" for at, colour in enumerate(colours)}, "box")
            )

    def _power(self, change: _Change, names: Names) -> None:
        """With the probability `_POWERED`, replace a lamp everywhere by a motor or buzzer, known or made up.

        The last word of its name says what it is. Readings of circuits name motors and buzzers as they name lamps.
        """
        lamps = sorted(set(_LAMP.findall(change.shown.prompt)))
        if not lamps or self._random.random() >= _POWERED:
            return
        named = [lamp for lamp in lamps if lamp in change.shown.target] or lamps
        unknown = f"{made_up(self._random)} {self._random.choice(['motor', 'buzzer'])}"
        lamp, other = self._random.choice(named), self._random.choice(["electric motor", "electric buzzer", unknown])
        change.rewrites.append(Phrases({names(lamp): other}, "bulb"))

    def _colours(self, *, is_told: bool) -> dict[str, str]:
        """New colours that mix in the same way. If `is_told`, any names with the probability `_ANY_COLOUR`."""
        if is_told and self._random.random() < _ANY_COLOUR:
            return {colour: self._new.name(()) for colour in (*_PRIMARY, *_MIXTURES)}
        primary = dict(zip(_PRIMARY, self._random.sample(_PRIMARY, len(_PRIMARY)), strict=True))
        mixture = {parts: name for name, parts in _MIXTURES.items()}
        return primary | {
            name: mixture[frozenset(primary[part] for part in parts)] for name, parts in _MIXTURES.items()
        }

    def _renumber(self, change: _Change) -> None:
        """Draw other readings in the same order, so that comparisons have the same result."""
        prompt = change.shown.prompt
        down = self._readings(_DOWN.findall(prompt), _STEEPEST) if " down" in prompt else {}
        degrees = self._readings(_DEGREES.findall(prompt), _HOTTEST) if " degrees" in prompt else {}
        if down or degrees:
            change.rewrites.append(Readings(degrees, down))

    def _readings(self, shown: Iterable[str], highest: int) -> dict[int, int]:
        """New values by old readings; empty if there are fewer than two to compare."""
        read = sorted({int(digits.replace(" ", "")) for digits in shown})
        if len(read) < 2:
            return {}
        return dict(zip(read, sorted(self._random.sample(self._range(highest, len(read)), len(read))), strict=True))

    def _range(self, highest: int, count: int) -> range:
        """The range from which the new readings are drawn."""
        if self._random.random() >= _CLOSE:
            return range(highest)
        span = min(highest, count * _APART)
        lowest = self._random.randrange(highest - span + 1)
        return range(lowest, lowest + span)

    def _score(self, source: Source) -> int:
        """Another score that means the same progress. An executor reads no score, so its score stays."""
        score = source.decision.state.score
        if source.role == "executor" or score < 0:
            return score
        if score < _BEGUN:
            return self._random.randrange(_BEGUN)
        if self._random.random() < _SHIFTED:
            return min(99, max(_BEGUN, score + self._random.randint(-_ABOUT, _ABOUT)))
        return score


def _source_of(example: Example) -> Source:
    if example.source is None:
        raise ValueError(f"of an example of task {example.task_id} only the text is known")
    return example.source


def _numbered(shown: Shown) -> _Change:
    """A change that begins by numbering the boxes to choose from, so that no other change treats them as names."""
    change = _Change(shown)
    boxes = several_boxes(shown.instruction)
    if boxes:
        change.rewrite_first(Boxes({box: _NUMBERED.format(number) for number, box in enumerate(boxes)}))
    return change
