"""The best of many candidates, for engines that read a prompt anew for each candidate: few have to be.

Reading one candidate tells how likely every token was at each of its places, so also how likely all others are as far
as they begin like it and one token further. What is not known of a candidate has at most the log-probability 0, which
bounds its mean; those whose bound is below the best that is known are never read. The answer is the same as from
reading all (best-first search: Hart, Nilsson & Raphael, 1968).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field

Answer = Sequence[int]
"""The tokens of a candidate, the end token included, once."""
Read = Callable[[Sequence[tuple[int, Answer]]], Iterable[Sequence[Sequence[float]]]]
"""For answers (the number of their prompt, their tokens): at each place of theirs the log-probability of every token of
the vocabulary."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate among the best of its prompt."""

    place: int
    """Where it stands in the list of candidates."""
    logprobs: tuple[float, ...]
    """Natural logs, of each of its tokens."""

    @property
    def mean(self) -> float:
        """What candidates of different length are compared by."""
        return sum(self.logprobs) / len(self.logprobs)


def best(read: Read, candidates: Sequence[Sequence[Answer]], n: int) -> list[list[Ranked]]:
    """For each prompt, given its candidates, those `n` with the best mean log-probability a token, best first.

    One candidate of each prompt is read at once, as often as the hardest choice takes. Of equal ones the first wins.
    """
    steps = best_in_steps(read, candidates, n)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            ranked: list[list[Ranked]] = done.value
            return ranked


def best_in_steps(
    read: Read, candidates: Sequence[Sequence[Answer]], n: int
) -> Generator[list[tuple[int, Answer]], None, list[list[Ranked]]]:
    """As `best`; yields what was read after each reading that another one follows."""
    choices = [_Choice(answers, n) for answers in candidates]
    pending = _wanted(choices)
    while pending:
        for (number, answer), rows in zip(pending, read(pending), strict=True):
            choices[number].learn(answer, rows)
        was_read, pending = pending, _wanted(choices)
        if pending:
            yield was_read
    return [choice.ranked() for choice in choices]


def _wanted(choices: Sequence[_Choice]) -> list[tuple[int, Answer]]:
    return [(number, wanted) for number, choice in enumerate(choices) if (wanted := choice.wanted()) is not None]


@dataclass(slots=True)
class _Choice:
    """For one prompt: what is known of each candidate, from its first token on."""

    answers: Sequence[Answer]
    n: int
    known: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.known = [[] for _ in self.answers]

    def wanted(self) -> Answer | None:
        """The candidate that has to be read next; None: the best are known."""
        unread = (self.answers[place] for place in self._leading() if not self._is_known(place))
        return next(unread, None)

    def learn(self, answer: Answer, rows: Sequence[Sequence[float]]) -> None:
        """Take what the reading of one candidate tells of all."""
        for other, known in zip(self.answers, self.known, strict=True):
            for place, (token, read, row) in enumerate(zip(other, answer, rows, strict=False)):
                if place == len(known):
                    known.append(float(row[token]))
                if token != read:
                    break

    def ranked(self) -> list[Ranked]:
        """The best, once nothing is wanted."""
        return [Ranked(place, tuple(self.known[place])) for place in self._leading()]

    def _leading(self) -> list[int]:
        """Those `n` that have the best mean, or could have it yet."""
        bounds = [sum(known) / len(answer) for known, answer in zip(self.known, self.answers, strict=True)]
        return sorted(range(len(bounds)), key=bounds.__getitem__, reverse=True)[: self.n]

    def _is_known(self, place: int) -> bool:
        return len(self.known[place]) == len(self.answers[place])
