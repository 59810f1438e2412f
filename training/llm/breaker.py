"""A circuit breaker: after repeated failures an endpoint gets no more requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from waymark.errors import EndpointUnusable, ServiceError

_Answer = TypeVar("_Answer")


class Breaker:
    """Allows calls until `limit` calls in a row have failed, in the order in which they end; 0: always.

    Then running requests are cancelled, and no further one is made.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.last: ServiceError | None = None
        """The failure that came last."""
        self._failures = 0
        self._under_way: set[anyio.CancelScope] = set()

    @property
    def is_open(self) -> bool:
        """Whether no further request is made."""
        return 0 < self.limit <= self._failures

    async def call(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer of one request, all of its tries together.

        Raises what `ask` raises, and ServiceError for a request that was not made or given up.
        """
        if not self.is_open:
            with anyio.CancelScope() as scope:
                self._under_way.add(scope)
                try:
                    answer = await ask()
                except EndpointUnusable:
                    raise
                except ServiceError as error:
                    self._fail(error)
                    raise
                finally:
                    self._under_way.discard(scope)
                if not self.is_open:
                    self._failures = 0
                return answer
        raise ServiceError(f"Not asked: the endpoint had failed {self.limit} times in a row.")

    def _fail(self, error: ServiceError) -> None:
        self._failures, self.last = self._failures + 1, error
        if self.is_open:
            for scope in self._under_way:
                scope.cancel()
