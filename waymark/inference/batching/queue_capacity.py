"""The limits of a service's queue, and the refusal of requests over them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable

from waymark.errors import QueueFull
from waymark.inference.batching.fairness import Flow

_PACE_SECONDS = 4.0
"""The pace is an average over about so many seconds of the model's time. An average over few batches rises with chance.
The queue then admits all requests for a tenth of a second, which is more than Python can read."""
_RESERVE = 8
"""A caller with less than this share of the queue may exceed its limits by as much, if others have filled it."""
_HEAVY_SHARE = 2
"""Share of the tokens in the queue that heavy work may take."""
_REFUSING_SECONDS = 1.0
"""The queue counts as overloaded for so long after a refusal."""


class QueueCapacity:
    """The limits of a service's queue, for all of its models together: a number of requests and their cost in tokens.
    Thread-safe.

    A request is also refused if it would wait for more than `max_seconds`, so that admitted requests are answered in
    time. It waits for the batch that runs and for the work before it, at the pace of the last seconds. But `always`
    requests may wait in any case. An empty queue admits any single request, however long.

    No caller can fill the queue for others: a caller with little work in it may exceed its limits by an eighth, and
    heavy work takes at most half of the tokens.
    """

    def __init__(
        self,
        max_requests: int,
        max_tokens: int,
        *,
        max_seconds: float = math.inf,
        always: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._max_seconds = max_seconds
        self._always = always
        self._clock = clock
        self._lock = threading.Lock()
        self._served = self._seconds = 0.0
        """Of late: tokens of cost, and how long they took."""
        self._requests_of: Counter[str] = Counter()
        self._tokens_of: Counter[str] = Counter()
        self._heavy_requests = 0
        self._heavy_tokens = 0
        self._running: dict[object, tuple[float, float]] = {}
        """By model: the cost of the batches in it, and since when it computes them."""
        self._refused = -math.inf
        """When a request was refused last, other than for the share of heavy work."""
        self.requests = 0
        self.tokens = 0
        """What they cost."""

    @property
    def overloaded(self) -> bool:
        """Whether a request was refused in the last second, other than for the share of heavy work."""
        return self._clock() - self._refused < _REFUSING_SECONDS

    def check(self, caller: str = "") -> None:
        """Raise QueueFull if not even one more request fits. Called before any work is done for a request."""
        if self._is_over(1, 1, Flow(caller)):
            self._refused = self._clock()
            raise self._full()

    def enter(self, requests: int, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008 - it is a constant
        """Add requests to the queue. Raises QueueFull with an estimate, from the present pace, of when to retry."""
        with self._lock:
            too_heavy = (
                flow.heavy and self._heavy_requests and self._heavy_tokens + tokens > self._max_tokens // _HEAVY_SHARE
            )
            if too_heavy:
                raise self._full()
            if self.requests and self._is_over(requests, tokens, flow):
                self._refused = self._clock()
                raise self._full()
            self._change(requests, tokens, flow)

    def resize(self, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008
        """Correct the cost of a waiting request by so many tokens (negative: it costs less than estimated)."""
        with self._lock:
            self._change(0, tokens, flow)

    def leave(self, tokens: int, flow: Flow = Flow("")) -> None:  # noqa: B008
        """Remove a request with this cost from the queue."""
        with self._lock:
            self._change(-1, -tokens, flow)

    def begins(self, model: object, tokens: int) -> None:
        """Record that a model begins a batch of light work of this cost, or gets it while it computes another.

        What is left of the batches counts in the wait for the model, and becomes less with time. So room for new work
        comes evenly, not for a whole batch at once.
        """
        now = self._clock()
        left, since = self._running.get(model, (0.0, now))
        self._running[model] = max(0.0, left - self._done_in(now - since)) + tokens, now

    def ends(self, model: object, tokens: int) -> None:
        """Record that a batch of a model is done. Others with this cost are still in the model."""
        self._running[model] = tokens, self._clock()

    def served(self, tokens: int, seconds: float) -> None:
        """Record that requests of this cost took so many seconds together. This gives the pace of the queue."""
        memory = math.exp(-seconds / _PACE_SECONDS)
        self._served = memory * self._served + tokens
        self._seconds = memory * self._seconds + seconds

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
        """Whether so much more work of a flow would exceed the limits."""
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
        waiting_requests, waiting_tokens = self.requests, self.tokens
        if not flow.heavy:
            waiting_requests -= self._heavy_requests
            waiting_tokens -= self._heavy_tokens
        ahead = min(waiting_requests + requests, own_requests * callers)
        last = tokens // requests  # the wait of the last request does not hold its own work
        tokens_ahead = min(waiting_tokens + tokens, own_tokens * callers) - last
        late = ahead > self._always and self._wait(tokens_ahead) + self._wait_for_running() > self._max_seconds
        return late or self.requests + requests > max_requests or self.tokens + tokens > max_tokens

    def _wait(self, tokens: float) -> float:
        """Estimated seconds until requests of this cost are answered; 0 while the pace is not known."""
        return tokens * self._seconds / self._served if self._served else 0.0

    def _done_in(self, seconds: float) -> float:
        """Estimated cost of the work that a model does in this time; 0 while the pace is not known."""
        return seconds * self._served / self._seconds if self._seconds else 0.0

    def _wait_for_running(self) -> float:
        """Estimated seconds until the batches that run are done."""
        now = self._clock()
        return sum(max(0.0, self._wait(tokens) - (now - began)) for tokens, began in tuple(self._running.values()))

    def _full(self) -> QueueFull:
        return QueueFull(
            f"{self.requests} requests with {self.tokens} tokens wait already, for about "
            f"{self._wait(self.tokens):.1f} s.",
            remedy="Send the request again later.",
            retry_seconds=max(1, math.ceil(self._wait(self.tokens))),
        )
