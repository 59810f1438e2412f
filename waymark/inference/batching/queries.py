"""Queries to a model, their answers, and observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from waymark.inference import Generation
from waymark.inference.batching.request_cost import CHARACTERS_A_TOKEN

Loss = Literal["full", "deadline", "gone", "closing"]
"""Why work was not answered: refused because the queue is full, too late, its caller disconnected, or the service
ends."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query to a model: `n` answers to a prompt, or the `n` best of its `candidates`."""

    prompt: str
    n: int = 1
    candidates: tuple[str, ...] | None = None

    @property
    def kind(self) -> int:
        """Work of equal kind can share a batch: `n` of a generation, below 0 for scoring."""
        return self.n if self.candidates is None else -self.n

    @property
    def rows(self) -> int:
        """Number of answers that the model computes at once for it."""
        return self.n if self.candidates is None else max(1, len(self.candidates))


@dataclass(frozen=True, slots=True)
class Work:
    """One query as submitted. Its prompt is rendered later, so that rendering does not block the event loop."""

    write: Callable[[], Query]
    """Renders the query. Called once, in the tokenising thread; its errors reach the caller."""
    tokens: int
    """Estimated number of prompt tokens, used until it is tokenised."""
    field: str = "prompt"
    """Field of the request with the prompt, for errors."""
    n: int = 1
    candidates: int = 0
    """Number of candidates to score."""
    candidate_characters: int = 0
    """Number of characters of all candidates together."""
    cost_field: str = ""
    """Field of the request that causes most of its cost, for errors."""

    @classmethod
    def of(cls, query: Query) -> Work:
        """A query that is written already."""
        texts = query.candidates or ()
        return cls(
            write=lambda: query,
            tokens=len(query.prompt) // CHARACTERS_A_TOKEN,
            n=query.n,
            candidates=len(texts),
            candidate_characters=sum(map(len, texts)),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one piece of work, and its times in milliseconds."""

    query: Query
    generation: Generation
    queue_ms: float
    """Waiting time, for the tokeniser and for a place in a batch."""
    tokenise_ms: float
    """Rendering and tokenising."""
    model_ms: float
    """Of the whole batch."""


class Observer:
    """Gets notified of events, on the thread in which they happen. No-op base class; subclasses count metrics."""

    def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        """A batch went through the model, which read `padded_tokens` input tokens, padding included."""

    def lost(self, loss: Loss, count: int) -> None:
        """So much work was given up without an answer."""
