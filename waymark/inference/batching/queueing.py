"""What waits for a model: the work that callers hand in, its place in the queue, and how much may wait."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from waymark.errors import QueueFull
from waymark.inference import Encoded, Generation, Steps
from waymark.inference.batching.cost import CHARACTERS_A_TOKEN
from waymark.inference.batching.fairness import Flow

Loss = Literal["full", "deadline", "gone", "closing"]
"""Why work was not answered: refused for want of room, too late, its caller went away, or the service ends."""

_MEMORY = 0.9
"""What the pace of a batch weighs when the next one is done."""
_RESERVE = 8
"""A caller who has less than this part of the queue may go over its bounds by as much, where others fill it."""
_HEAVY_SHARE = 2
"""Heavy work may have this part of the tokens that may wait."""


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


@dataclass(slots=True)
class Group:
    """What was submitted together: the limit on cost holds for all of it."""

    cost: int
    """What it is taken for so far."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue."""

    work: Work
    future: asyncio.Future[Answer]
    expires: float
    """On the monotonic clock."""
    cost: int
    """The room that it takes, in tokens."""
    flow: Flow
    group: Group
    admitted: float = field(default_factory=time.monotonic)
    query: Query | None = None
    encoded: Encoded | None = None
    tokenise_seconds: float = 0.0

    @property
    def length(self) -> int:
        """Tokens that the model will read for each row."""
        assert self.encoded is not None
        return len(self.encoded.ids)

    @property
    def rows(self) -> int:
        """How many answers the model follows at once."""
        assert self.query is not None
        return self.query.rows


def queries_of(batch: Sequence[Ticket]) -> list[Query]:
    """What a batch asks."""
    return [ticket.query for ticket in batch if ticket.query is not None]


def prompts_of(batch: Sequence[Ticket]) -> list[Encoded]:
    """Its prompts, tokenised."""
    return [ticket.encoded for ticket in batch if ticket.encoded is not None]


@dataclass(slots=True)
class Job:
    """A batch that is scored in steps, between which other work may run."""

    batch: Sequence[Ticket]
    steps: Steps
    started: float
    """On the monotonic clock."""
    seconds: float = 0.0
    """In the model so far."""
    is_begun: bool = False


class QueueCapacity:
    """What may wait in a service, all of its models together: so many requests that cost so many tokens. Thread-safe.

    A request is also refused when more wait than are answered within `max_seconds` at the pace so far, so that those
    who are admitted get their answers while they still want them; but `always` requests may wait in any case. An empty
    room takes any one request, however long.

    No caller can fill the room for others: who has little in it may go over its bounds by an eighth, and heavy work
    takes no more than half of the tokens.
    """

    def __init__(self, max_requests: int, max_tokens: int, *, max_seconds: float = math.inf, always: int = 0) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._max_seconds = max_seconds
        self._always = always
        self._lock = threading.Lock()
        self._served = self._seconds = 0.0
        """Of late: requests, and how long they took."""
        self._requests_of: Counter[str] = Counter()
        self._tokens_of: Counter[str] = Counter()
        self._heavy_requests = 0
        self._heavy_tokens = 0
        self.requests = 0
        self.tokens = 0
        """What they cost."""

    def check(self, caller: str = "") -> None:
        """Raise QueueFull if not even one more request fits: asked before any work is done for it."""
        if self._is_over(1, 1, Flow(caller)):
            raise self._full()

    def enter(self, requests: int, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008 - it is a constant
        """Take so much room. Raises QueueFull, which estimates from the pace so far when there will be some."""
        with self._lock:
            too_heavy = (
                flow.heavy and self._heavy_requests and self._heavy_tokens + tokens > self._max_tokens // _HEAVY_SHARE
            )
            if too_heavy or (self.requests and self._is_over(requests, tokens, flow)):
                raise self._full()
            self._change(requests, tokens, flow)

    def resize(self, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008
        """A request turned out to cost so many tokens more (or less, below zero) than it was taken for."""
        with self._lock:
            self._change(0, tokens, flow)

    def leave(self, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008
        """A request that costs so many tokens does not wait any more."""
        with self._lock:
            self._change(-1, -tokens, flow)

    def served(self, requests: int, seconds: float) -> None:
        """So many requests took so long together: the pace at which the room empties."""
        self._served = _MEMORY * self._served + requests
        self._seconds = _MEMORY * self._seconds + seconds

    def _change(self, requests: int, tokens: int, flow: Flow) -> None:
        self.requests += requests
        self.tokens += tokens
        self._requests_of[flow.caller] += requests
        self._tokens_of[flow.caller] += tokens
        if flow.heavy:
            self._heavy_requests += requests
            self._heavy_tokens += tokens
        if not self._requests_of[flow.caller]:
            del self._requests_of[flow.caller], self._tokens_of[flow.caller]

    def _is_over(self, requests: int, tokens: int, flow: Flow) -> bool:
        """Whether so much more of a flow would be too much."""
        caller = flow.caller
        own_requests = self._requests_of.get(caller, 0) + requests
        own_tokens = self._tokens_of.get(caller, 0) + tokens
        max_requests, max_tokens = self._max_requests, self._max_tokens
        if self.requests > own_requests - requests:  # others wait, too
            if own_requests * _RESERVE <= max_requests:
                max_requests += max_requests // _RESERVE
            if own_tokens * _RESERVE <= max_tokens:
                max_tokens += max_tokens // _RESERVE
        callers = len(self._requests_of) + (caller not in self._requests_of)
        # Callers are served in turn, and light work before heavy work, so nobody waits for all that others have here.
        waiting = self.requests if flow.heavy else self.requests - self._heavy_requests
        ahead = min(waiting + requests, own_requests * callers)
        late = ahead > self._always and self._wait(ahead) > self._max_seconds
        return late or self.requests + requests > max_requests or self.tokens + tokens > max_tokens

    def _wait(self, requests: int) -> float:
        """Seconds until so many requests are answered, at the pace so far; 0 as long as it is not known."""
        return requests * self._seconds / self._served if self._served else 0.0

    def _full(self) -> QueueFull:
        return QueueFull(
            f"{self.requests} requests with {self.tokens} tokens wait already, for about "
            f"{self._wait(self.requests):.1f} s.",
            remedy="Send the request again later.",
            retry_seconds=max(1, math.ceil(self._wait(self.requests))),
        )
