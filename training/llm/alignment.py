"""Which sub-goal of an answer each action of the path belongs to, by edit distance.

A model that copies a path drops actions, invents some and misspells others. The answer's actions are aligned to
the path's in two passes, each with the fewest insertions and deletions:

1. equal actions are paired. Equal means the same action of the grammar: `take cup` is `pick up cup`.
2. between two such pairs, what is left is paired by its verb alone: `pick up pot` stands for `pick up metal pot`.

Other actions of the answer are dropped. A single action of the path without a partner goes to the sub-goal before it;
several in a row are sent back to the model.

difflib is not used because it takes the longest common block first, which is not a minimal edit, and finds wrong blocks
in paths with repetitions (`wait1`, `use thermometer on …`). Plain Levenshtein distance is not used because its
substitutions pair any two actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from rapidfuzz.distance import Indel

from training.llm.prompts import Named
from waymark.errors import UnparsableAction
from waymark.worlds.base import COMPLETE, Grammar, Segment

Owner = tuple[int, str]
"""A sub-goal and a number that distinguishes it from others of the same name."""


class Alignment:
    """The path's actions and the sub-goals to which they belong so far. Answers are added one after another.

    `extra` counts actions of answers that are not in the path. `joined` counts single missing actions that `segments`
    adds to the sub-goal before them.
    """

    def __init__(self, actions: Sequence[str], grammar: Grammar) -> None:
        self._grammar = grammar
        self._actions = [_understood(action, grammar) for action in actions]
        self._owners: list[Owner | None] = [None] * len(actions)
        self._answers = 0
        self.extra = 0

    def take(self, answer: Sequence[Named]) -> None:
        """Assign missing actions to the sub-goals of an answer. At first, all actions are missing."""
        asked = [index for run in self.missing() for index in run]
        given = [(number, named.subgoal, action) for number, named in enumerate(answer) for action in named.actions]
        answered = [_understood(action, self._grammar) for _, _, action in given]
        pairs = list(_pairs(answered, [self._actions[index] for index in asked]))
        for ours, theirs in pairs:
            number, subgoal, _ = given[ours]
            self._owners[asked[theirs]] = (self._answers + number, subgoal)
        self._answers += len(answer)
        self.extra += len(given) - len(pairs)

    def missing(self) -> list[range]:
        """Missing actions that the model has to name: two or more in a row, or the whole path."""
        runs = []
        for empty, group in groupby(range(len(self._owners)), key=lambda index: self._owners[index] is None):
            positions = list(group)
            if empty and (len(positions) > 1 or len(positions) == len(self._owners)):
                runs.append(range(positions[0], positions[-1] + 1))
        return runs

    @property
    def joined(self) -> int:
        """Number of single actions without a sub-goal."""
        return sum(owner is None for owner in self._owners)

    def segments(self) -> list[Segment]:
        """The path's sub-goals, without gaps.

        An action without an owner goes to the sub-goal before it, at the path's start to the one after it.
        """
        before = next(owner for owner in self._owners if owner is not None)
        return segments([before := owner or before for owner in self._owners])


def segments(owners: Iterable[Owner]) -> list[Segment]:
    """Neighbouring actions of one owner as a segment; `complete_task()` follows as an empty one."""
    segments, at = [], 0
    for (_, subgoal), group in groupby(owners):
        stop = at + len(list(group))
        segments.append(Segment(subgoal, at, stop))
        at = stop
    return [*segments, Segment(COMPLETE, at, at)]


def _pairs(answered: Sequence[str], path: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions in the answer and in the path that stand for the same action, in order."""
    equal = [(-1, -1), *_common(answered, path), (len(answered), len(path))]
    for (ours, theirs), (next_ours, next_theirs) in pairwise(equal):
        between, gap = answered[ours + 1 : next_ours], path[theirs + 1 : next_theirs]
        for left, right in _common(list(map(_verb_of, between)), list(map(_verb_of, gap))):
            yield ours + 1 + left, theirs + 1 + right
        if next_ours < len(answered):
            yield next_ours, next_theirs


def _common(left: Sequence[object], right: Sequence[object]) -> Iterator[tuple[int, int]]:
    """Positions of a longest common subsequence: the pairs that the fewest insertions and deletions leave."""
    for block in Indel.editops(left, right).as_matching_blocks():
        yield from zip(range(block.a, block.a + block.size), range(block.b, block.b + block.size), strict=True)


def _understood(text: str, grammar: Grammar) -> str:
    """The action of a text in functional form; a text that the grammar does not know stands for itself."""
    words = " ".join(text.lower().split())
    try:
        return grammar.formal(words)
    except UnparsableAction:
        return f"{words.partition(' ')[0]}({words})"


def _verb_of(formal: str) -> str:
    return formal.partition("(")[0]
