"""What a model is asked, what came of it, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from waymark.inference import Generation
from waymark.inference.batching.cost import CHARACTERS_A_TOKEN

Loss = Literal["full", "deadline", "gone", "closing"]
"""Why work was not answered: refused because too much waits, too late, its caller went away, or the service ends."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a model is asked: `n` answers to a prompt, or the `n` best of its `candidates`."""

    prompt: str
    n: int = 1
    candidates: tuple[str, ...] | None = None

    @property
    def kind(self) -> int:
        """What can share a batch: equal `n`, below 0 for scoring."""
        return self.n if self.candidates is None else -self.n

    @property
    def rows(self) -> int:
        """How many answers the model follows at once for it."""
        return self.n if self.candidates is None else max(1, len(self.candidates))


@dataclass(frozen=True, slots=True)
class Work:
    """One query as a caller hands it in: not written yet, so that rendering does not hold the event loop."""

    write: Callable[[], Query]
    """Called once, in the tokenising thread. What it raises reaches the caller."""
    tokens: int
    """About how many the prompt has: what it is taken for until it is tokenised."""
    field: str = "prompt"
    """Where the prompt stands in the request, for errors."""
    n: int = 1
    candidates: int = 0
    """How many there are to be scored."""
    candidate_characters: int = 0
    """Of all of them together."""
    cost_field: str = ""
    """What in the request makes it cost much, for errors."""

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
    """What came of one piece of work, and its times in milliseconds."""

    query: Query
    generation: Generation
    queue_ms: float
    """Waiting, for the tokeniser and for a place in a batch."""
    tokenise_ms: float
    """Rendering and tokenising."""
    model_ms: float
    """Of the whole batch."""


class Observer:
    """Is told what happens, on whatever thread it happens. No-op base class; metrics are counted in subclasses."""

    def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        """A batch went through the model, which read `padded_tokens` input tokens, padding included."""

    def lost(self, loss: Loss, count: int) -> None:
        """So much work was given up without an answer."""
