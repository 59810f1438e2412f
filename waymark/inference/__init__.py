"""The generation port: text in, ranked text out. One protocol, several engines, one meaning.

Engines know nothing of sub-goals or actions; `waymark.serving` renders prompts and parses answers. Each
engine lives in a module of its own that alone imports its library: `scripted`, `ctranslate2`, `transformers`, `vllm`.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text that a model gave or scored."""

    text: str
    logprob: float
    """Natural log of the probability of the whole text, the end token included."""
    tokens: int
    """How many tokens that is, the end token included."""
    token_logprobs: tuple[float, ...] = ()
    """Of each of them; only `score` tells."""

    @property
    def mean_logprob(self) -> float:
        """Log-probability a token: what candidates of different length are compared by."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one prompt: candidates, best first."""

    candidates: tuple[Candidate, ...]
    prompt_tokens: int
    """What the model read, after truncation, end token included."""
    truncated_tokens: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt as its engine reads it."""

    text: str
    ids: list[int]
    """Token numbers after truncation, end token included."""
    truncated: int
    """How many tokens were cut."""
    unknown: tuple[str, ...] = ()
    """Its words that the vocabulary lacks and that answers to it may copy, numbered in order of appearance."""


Prompt = str | Encoded
"""A prompt, or what the same engine's `encode` has made of it."""


Steps = collections.abc.Generator[int, None, list[Generation]]
"""Scoring that is done a step at a time: tokens read at each, and in the end the generations."""


class Generator(Protocol):
    """A loaded checkpoint. Not thread-safe: one thread at a time calls it, but `encode` may run beside. Batches may
    mix lengths.

    A prompt over the checkpoint's `max_input_tokens` loses its last tokens
    and says so in `truncated_tokens`.
    """

    @property
    def engine(self) -> str:
        """`ctranslate2`, `transformers`, `vllm` or `scripted`."""
        ...

    @property
    def dtype(self) -> str:
        """What it computes in: `int8`, `float32`, `bfloat16`, …"""
        ...

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        """Tokenise ahead, so that it need not be done while the model waits. May run beside the other methods."""
        ...

    def pieces(self, answer: str, prompt: Prompt) -> list[str]:
        """What each token adds to an answer to that prompt, the end token nothing: joined they are the answer.
        May run beside."""
        ...

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        """The `n` most likely answers to each prompt: greedy for 1, beam search of width n for more.

        Log-probabilities are exact sums over the candidate's tokens, never length-normalised.
        """
        ...

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        """The `n` best of each prompt's own candidates, None: all, with their log-probabilities, best mean first."""
        ...

    @property
    def rereads_prompt(self) -> bool:
        """Whether scoring reads the prompt again for each candidate: what scoring costs depends on it."""
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
    """What all steps return."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            generations: list[Generation] = done.value
            return generations


@runtime_checkable
class Remote(Protocol):
    """What a generator is, too, when its model runs in another process, which may be gone for a while."""

    def check(self) -> None:
        """Raise ServiceUnavailable while the model is gone."""
        ...
