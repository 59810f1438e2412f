"""How much may wait in a service, and who is refused."""

from __future__ import annotations

import math
import threading
from collections import Counter

from waymark.errors import QueueFull
from waymark.inference.batching.fairness import Flow

_MEMORY = 0.9
"""What the pace of a batch weighs when the next one is done."""
_RESERVE = 8
"""A caller who has less than this part of the queue may go over its bounds by as much, where others fill it."""
_HEAVY_SHARE = 2
"""Heavy work may have this part of the tokens that may wait."""


class QueueCapacity:
    """What may wait in a service, all of its models together: so many requests that cost so many tokens. Thread-safe.

    A request is also refused when more wait than are answered within `max_seconds` at the pace so far, so that those
    who are admitted get their answers while they still want them; but `always` requests may wait in any case. An empty
    queue takes any one request, however long.

    No caller can fill the queue for others: a caller who has little in it may go over its bounds by an eighth, and
    heavy work takes no more than half of the tokens.
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
        """Let so much wait. Raises QueueFull, which estimates from the pace so far when to ask again."""
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
        """So many requests took so long together: the pace at which the queue empties."""
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
