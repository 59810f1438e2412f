"""Beam search for engines that only tell how likely the next tokens are, as the reference engine searches.

Scores are sums of log-probabilities, never normalised, and a search goes on until no unfinished answer can enter
the best n: what transformers does with `length_penalty=0` and `early_stopping=False`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Beam:
    """An answer, or the beginning of one."""

    tokens: tuple[int, ...] = ()
    logprob: float = 0.0
    """Natural log of its probability: of the sum over all tokens, the end token included once it is there."""


Following = Callable[[Sequence[tuple[int, Beam]]], Sequence[Mapping[int, float]]]
"""For beginnings (the number of their prompt, the tokens so far): the log-probabilities of the likeliest next tokens,
one more of them than the search is wide, so that enough are left if one is the end."""


def search(following: Following, prompts: int, *, width: int, end: int, max_tokens: int) -> list[list[Beam]]:
    """The `width` likeliest answers found to each of so many prompts, best first.

    All beginnings of all prompts are asked about at once, as often as the longest answer has tokens.
    """
    searches = [_Search() for _ in range(prompts)]
    for length in range(1, max_tokens + 1):
        beginnings = [(number, beam) for number, beam_search in enumerate(searches) for beam in beam_search.running]
        if not beginnings:
            break
        candidates: list[list[Beam]] = [[] for _ in searches]
        for (number, beam), nexts in zip(beginnings, following(beginnings), strict=True):
            candidates[number] += [
                Beam((*beam.tokens, token), beam.logprob + logprob) for token, logprob in nexts.items()
            ]
        for beam_search, grown in zip(searches, candidates, strict=True):
            if beam_search.running:
                beam_search.go_on(grown, width, end, last=length == max_tokens)
    return [beam_search.finished for beam_search in searches]


@dataclass(slots=True)
class _Search:
    """For one prompt: what still grows, and the best of what has ended; both best first."""

    running: list[Beam] = field(default_factory=lambda: [Beam()])
    finished: list[Beam] = field(default_factory=list)

    def go_on(self, candidates: list[Beam], width: int, end: int, *, last: bool) -> None:
        """Keep the best. At the last token all that is among them counts as an answer."""
        candidates.sort(key=_logprob, reverse=True)
        ended = [beam for beam in candidates[:width] if last or beam.tokens[-1] == end]
        self.finished = sorted(self.finished + ended, key=_logprob, reverse=True)[:width]
        self.running = [] if last else [beam for beam in candidates if beam.tokens[-1] != end][:width]
        if len(self.finished) == width and self.running and self.running[0].logprob <= self.finished[-1].logprob:
            self.running = []  # what grows only gets less likely


def _logprob(beam: Beam) -> float:
    return beam.logprob
