"""Scoring in steps, for engines that score any few candidates of a prompt as well as all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from waymark.inference import Generation, Prompt, Steps


class Score(Protocol):
    """`Generator.score`."""

    def __call__(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The best of each prompt's candidates."""
        ...


def in_chunks(
    score: Score, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], n: int | None, at_once: int
) -> Steps:
    """The best candidates of each prompt, of which `at_once` are scored at a step."""
    best: list[Generation] = []
    most = max(map(len, candidates), default=0)
    for start in range(0, max(1, most), at_once):
        chosen = [place for place, texts in enumerate(candidates) if not start or len(texts) > start]
        scored = score(
            [prompts[place] for place in chosen], [candidates[place][start : start + at_once] for place in chosen], n=n
        )
        if not start:
            best = scored
        for place, more in zip(chosen, scored if start else (), strict=False):
            both = [*best[place].candidates, *more.candidates]
            both.sort(key=lambda candidate: candidate.mean_logprob, reverse=True)
            best[place] = Generation(tuple(both[:n]), more.prompt_tokens, more.truncated_tokens)
        if start + at_once < most:
            yield sum(generation.prompt_tokens for generation in scored) + at_once * len(chosen)
    return best
