"""The port of all engines: it takes prompts and returns ranked texts."""

from __future__ import annotations

import collections.abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text that a model wrote or scored."""

    text: str
    logprob: float
    """Natural log of the probability of the whole text, the end token included."""
    tokens: int
    """Number of its tokens, including the end token."""
    token_logprobs: tuple[float, ...] = ()
    """Log-probability of each token; only `score` sets it."""

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of a token, by which candidates of different lengths are compared."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one prompt: candidates, best first."""

    candidates: tuple[Candidate, ...]
    prompt_tokens: int
    """Number of tokens that the model read, after truncation, including the end token."""
    truncated_tokens: int

    @classmethod
    def of(cls, encoded: Encoded, candidates: Sequence[Candidate]) -> Generation:
        """An answer to a prompt that the engine has tokenised."""
        return cls(tuple(candidates), prompt_tokens=len(encoded.ids), truncated_tokens=encoded.truncated)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt as its engine reads it."""

    text: str
    ids: list[int]
    """Token numbers after truncation, end token included."""
    truncated: int
    """How many tokens were cut."""
    unknown: tuple[str, ...] = ()
    """Words of the prompt that are not in the vocabulary and that answers may copy, numbered in order of appearance."""


Prompt = str | Encoded
"""A prompt, or the result of the same engine's `encode` for it."""


Steps = collections.abc.Generator[int, None, list[Generation]]
"""Scoring in steps: yields the number of tokens read in each step, and returns the generations."""


class Generator(Protocol):
    """A loaded checkpoint. Not thread-safe: one thread at a time calls it. But `encode` may run beside, and up to
    `parallel_batches` threads may call `generate`. Batches may mix lengths.

    A prompt over the checkpoint's `max_input_tokens` loses its last tokens
    and says so in `truncated_tokens`.
    """

    @property
    def engine(self) -> str:
        """`ctranslate2`, `transformers`, `vllm` or `scripted`."""
        ...

    @property
    def dtype(self) -> str:
        """The number type of the computation: `int8`, `float32`, `bfloat16`, …"""
        ...

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        """Tokenise prompts in advance, so that the model does not wait for it. May run in parallel with the other
        methods.
        """
        ...

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:
        """The text that each token adds to an answer to that prompt; the end token adds nothing. Joined they are the
        answer. May run in parallel with the other methods."""
        ...

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The `n` most likely answers to each prompt: greedy for 1, beam search of width n for more.

        Log-probabilities are exact sums over the candidate's tokens, never length-normalised.
        """
        ...

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best of each prompt's own candidates (None: all) with their log-probabilities, best mean first."""
        ...

    @property
    def rereads_prompt(self) -> bool:
        """Whether scoring reads the prompt again for each candidate. The cost of scoring depends on it."""
        ...

    @property
    def candidate_weight(self) -> int:
        """How many tokens of a prompt take as long to read as one token of a candidate."""
        ...

    @property
    def parallel_batches(self) -> int:
        """How many calls of `generate` it can compute at the same time, at least 1. With 2, a second batch can use what
        the first leaves idle.
        """
        ...

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        """`score` in steps of some tenths of a second at most, between which the engine may be asked other things.

        Yields how many tokens the model has read since the last step, and returns the generations.
        """
        ...

    def close(self) -> None:
        """Free what is held. Idempotent."""
        ...


def to_the_end(steps: Steps) -> list[Generation]:
    """Run all steps and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            generations: list[Generation] = done.value
            return generations


@runtime_checkable
class Remote(Protocol):
    """A generator whose model runs in another process, which may be unreachable for a while."""

    def check(self) -> None:
        """Raise ServiceUnavailable while the model cannot be reached."""
        ...
