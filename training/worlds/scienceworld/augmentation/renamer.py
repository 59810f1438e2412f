"""Which names, numbers and places of a decision change, drawn anew for each example."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from training.datasets import Decision, Example, Source
from training.worlds.scienceworld.augmentation.changes import (
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
from training.worlds.scienceworld.augmentation.names import NewNames
from training.worlds.scienceworld.augmentation.shown import (
    CIRCUITS,
    PAINTS,
    PART,
    Shown,
    inconsequential,
    several_boxes,
    words_of,
    words_told,
)
from training.worlds.words import made_up

_BYSTANDERS: Final = 0.06
"""Share of the things around that nobody has heard of either."""
_SWAPPED: Final = 0.15
"""Share of examples in which what is named changes its name with one of the things around: what lies in every kitchen
of the training variations, and is never asked for there, is asked for elsewhere."""
_ALWAYS: Final = ("2-3", "3-4", "9-1", "9-2", "9-3")
"""Task types where what training variations show of a name (which surface is smooth, which unknown substance conducts)
is another thing elsewhere: only what is measured counts."""
_PRIMARY: Final = ("red", "yellow", "blue")
_MIXTURES: Final = {
    "orange": frozenset({"red", "yellow"}),
    "green": frozenset({"yellow", "blue"}),
    "violet": frozenset({"red", "blue"}),
}
"""What the simulator's paints make. Colours change places so that this stays true: what training variations show of one
mixture, all are learnt from."""
_ANY_COLOUR: Final = 0.5
_LAMP: Final = re.compile(r"\b[a-z]+ light bulb\b")
_POWERED: Final = 0.3
"""Share of circuits that power something else than lamps."""
_HATCHED: Final = ("4-1", "4-4", "8-1")
"""Task types that take animals as they are listed, where training variations have eggs and others have young."""
_FORMS: Final = ("{} egg", "baby {}", "juvenile {}", "{}")
_NUMBERED: Final = "{}box"
"""What a box is called until its new colour is drawn: no other rule takes it for a name."""
_HOLDERS: Final = [*"table counter desk chair couch bed shelf drawer".split(), "large cupboard"]
_HELD: Final = 0.35
"""Share of examples in which what lies in a room lies on or in something: nearly nothing that training tasks ask for
does, while elsewhere it may lie among the wires on the workshop's table."""
_MELTED: Final = ("1-1", "1-2", "1-3", "1-4", "2-1", "2-2", "2-3")
"""Task types that ask for substances: what lies in a vessel is liquid, and is carried in it."""
_ALIKE_TASKS: Final = (*_MELTED, *CIRCUITS, "4-2", "6-1")
"""Task types that ask for things; what shares a name with a plant or an animal may be one of its kind."""
_KNOWN: Final = 0.5
"""Share of the examples of 2-3 that call their substance as those of 2-2 are, which its few do not show enough: `tin`
as it is found, and `liquid tin` once it has changed."""
_DOWN: Final = re.compile(r"(?<!\d )\b\d \d \d(?= down\b)")
_DEGREES: Final = re.compile(r"(?<!- )(?<!\d )\b\d \d \d \d(?= degrees\b)")
"""Readings as prompts write them: percentages with three digits, temperatures with four."""
_STEEPEST, _HOTTEST = 100, 600
_CLOSE, _APART = 0.6, 12
"""Share of examples whose readings lie within so many of each other on average, as those do that are hard to tell."""
_BEGUN, _ABOUT, _SHIFTED = 15, 5, 0.5
"""Points below the first are had for going where things are kept in training variations, elsewhere in others: any such
score may stand for any other. From there on, a share of the scores is off by up to so many."""
_POTS: Final = "123456789"


class _Change:
    """What is drawn for one example: rewrites, and what it shows after those that come before its names."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.rewrites: list[Rewrite] = []
        self.holders: dict[str, str] = {}

    def rewrite_first(self, rewrite: Rewrite) -> None:
        """One rewrite more, before names are drawn: they are those of what is shown then."""
        self.rewrites.append(rewrite)
        prompt, target = rewrite(self.shown.prompt), rewrite(self.shown.target)
        self.shown = replace(self.shown, prompt=prompt, target=target)

    def made(self, decision: Decision, score: int) -> Decision:
        """A decision with all of it."""
        return changed(decision, self.rewrites, score, self.holders)


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
        """Draw from here on as a renamer made with this seed would."""
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
        """A copying drill: the instruction alone, always renamed, and its answer.

        Short, so ten times cheaper than the whole prompt, and nothing but copying solves it. For examples that
        `is_drillable` names, of a format whose prompts begin with the instruction.
        """
        source = _source_of(example)
        change = _numbered(Shown.of(example))
        change.shown = replace(change.shown, prompt=change.shown.instruction_shown)
        self._rename(change)
        self._colour_boxes(change)
        decision = source.decision
        if " if " not in change.shown.prompt:  # no readings decide what is left of the instruction
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
        """Other names for what is told, for some of what is around, and for wires and lamps."""
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
        """Give the unknown substance that is asked for another name."""
        asked = UNKNOWN.search(change.shown.instruction.lower())
        if asked:
            change.rewrite_first(Unknown(self._new.name(change.shown.words, change.shown.things()), asked[1]))

    def _hold(self, change: _Change, names: Names) -> None:
        """Now and then, put what is named and lies in the room on or in something."""
        if self._random.random() >= _HELD:
            return
        holders = _HOLDERS if change.shown.task_id in _MELTED else [*_HOLDERS, *VESSELS]
        change.holders = {names(thing): self._random.choice(holders) for thing in change.shown.named_here()}

    def _swapped(self, shown: Shown, things: Sequence[str], names: Sequence[str]) -> tuple[str, str] | None:
        """Now and then, one of the told names and one of the things around, to change places: also what other tasks
        ask for, where tasks ask for things."""
        named = {word for name in names for word in name.split()}
        if not names or self._random.random() >= _SWAPPED:
            return None
        words = Counter(shown.prompt.split(" "))
        changeable = self._inconsequential if shown.task_id in _ALIKE_TASKS else self._bystanders
        around = [
            thing
            for thing in things
            if changeable.issuperset(thing.split()) and not named.intersection(thing.split())
            # a word of one thing alone, so that no other loses it
            if " " not in thing or {words[word] for word in thing.split()} == {shown.prompt.count(thing)}
        ]
        return (self._random.choice(names), self._random.choice(around)) if around else None

    def _colour_boxes(self, change: _Change) -> None:
        """Give the boxes that were numbered other colours."""
        count = len(several_boxes(change.shown.instruction))
        if count:
            colours = self._new.colours(count, change.shown.words)
            change.rewrites.append(
                Phrases({_NUMBERED.format(at): f"{colour} box" for at, colour in enumerate(colours)}, "box")
            )

    def _power(self, change: _Change, names: Names) -> None:
        """Now and then, put something else in place of a lamp throughout: a motor, a buzzer, one that nobody knows.

        What it is shows by its last word: readings of circuits name motors and buzzers as they name lamps.
        """
        lamps = sorted(set(_LAMP.findall(change.shown.prompt)))
        if not lamps or self._random.random() >= _POWERED:
            return
        named = [lamp for lamp in lamps if lamp in change.shown.target] or lamps
        unknown = f"{made_up(self._random)} {self._random.choice(['motor', 'buzzer'])}"
        lamp, other = self._random.choice(named), self._random.choice(["electric motor", "electric buzzer", unknown])
        change.rewrites.append(Phrases({names(lamp): other}, "bulb"))

    def _colours(self, *, is_told: bool) -> dict[str, str]:
        """Other colours that mix as these do; where what is needed is told, half of the time any names at all."""
        if is_told and self._random.random() < _ANY_COLOUR:
            return {colour: self._new.name(()) for colour in (*_PRIMARY, *_MIXTURES)}
        primary = dict(zip(_PRIMARY, self._random.sample(_PRIMARY, len(_PRIMARY)), strict=True))
        mixture = {parts: name for name, parts in _MIXTURES.items()}
        return primary | {
            name: mixture[frozenset(primary[part] for part in parts)] for name, parts in _MIXTURES.items()
        }

    def _renumber(self, change: _Change) -> None:
        """Draw other readings in the same order: which is greater stays, how great it is does not."""
        prompt = change.shown.prompt
        down = self._readings(_DOWN.findall(prompt), _STEEPEST) if " down" in prompt else {}
        degrees = self._readings(_DEGREES.findall(prompt), _HOTTEST) if " degrees" in prompt else {}
        if down or degrees:
            change.rewrites.append(Readings(degrees, down))

    def _readings(self, shown: Iterable[str], highest: int) -> dict[int, int]:
        """Readings with those that stand for them; none where there is nothing to compare."""
        read = sorted({int(digits.replace(" ", "")) for digits in shown})
        if len(read) < 2:
            return {}
        return dict(zip(read, sorted(self._random.sample(self._range(highest, len(read)), len(read))), strict=True))

    def _range(self, highest: int, count: int) -> range:
        """What the readings are drawn from."""
        if self._random.random() >= _CLOSE:
            return range(highest)
        span = min(highest, count * _APART)
        lowest = self._random.randrange(highest - span + 1)
        return range(lowest, lowest + span)

    def _score(self, source: Source) -> int:
        """Another score that says as much of how far the task is. An executor reads none."""
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
    """The beginning of a change: numbers for the boxes to choose from, which no other rule takes for names."""
    change = _Change(shown)
    boxes = several_boxes(shown.instruction)
    if boxes:
        change.rewrite_first(Boxes({box: _NUMBERED.format(number) for number, box in enumerate(boxes)}))
    return change
