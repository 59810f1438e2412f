"""Batches the requests of many callers for one generator, off the event loop.

Callers await on the event loop; one thread owns the generator. It takes what waits, at most `max_batch`
requests of one kind, oldest first, runs them together and hands each its answer. The queue is bounded:
over it the caller is told at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from waymark.errors import DeadlineExceeded, QueueFull, ServiceUnavailable
from waymark.generation import Generation, Generator


@dataclass(frozen=True, slots=True)
class Work:
    """One prompt: `n` answers to it, or with `candidates` their scores."""

    prompt: str
    n: int = 1
    candidates: tuple[str, ...] | None = None

    @property
    def kind(self) -> int:
        """What can share a batch: equal `n`, or 0 for scoring."""
        return self.n if self.candidates is None else 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one piece of work, and its times in milliseconds."""

    generation: Generation
    queue_ms: float
    """Waiting for a place in a batch."""
    model_ms: float
    """Of the whole batch."""


@dataclass(slots=True)
class _Ticket:
    work: Work
    future: asyncio.Future[Answer]
    loop: asyncio.AbstractEventLoop
    admitted: float = field(default_factory=time.perf_counter)

    def resolve(self, outcome: Answer | Exception) -> None:
        """Hand over the outcome from the batcher's thread; a caller that has gone is not missed."""

        def settle() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)

        self.loop.call_soon_threadsafe(settle)


class Batcher:
    """Owns a generator and its thread. `submit` is called on an event loop, `start` and `close` from anywhere."""

    def __init__(self, generator: Generator, *, max_batch: int, max_queue: int) -> None:
        self._generator = generator
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._waiting: list[_Ticket] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)

    def start(self) -> None:
        """Begin to answer. Until then work only waits."""
        self._thread.start()

    async def submit(self, works: Sequence[Work], *, within: float | None = None) -> list[Answer]:
        """The answers to some work, admitted as a whole or not at all.

        `within` is a deadline in seconds. Raises QueueFull, DeadlineExceeded, ServiceUnavailable when closing, and what
        the generator raises. Work whose caller has gone before it reaches the model is dropped.
        """
        loop = asyncio.get_running_loop()
        tickets = [_Ticket(work, loop.create_future(), loop) for work in works]
        with self._changed:
            if self._closing:
                raise ServiceUnavailable("The service is shutting down.", remedy="Send the request again.")
            self._forget_the_gone()
            if len(self._waiting) + len(tickets) > self._max_queue:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait already, of at most {self._max_queue}.",
                    remedy="Send the request again later.",
                )
            self._waiting.extend(tickets)
            self._changed.notify()
        try:
            async with asyncio.timeout(within):
                return list(await asyncio.gather(*(ticket.future for ticket in tickets)))
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"No answer within the deadline of {(within or 0) * 1000:.0f} ms.",
                remedy="Allow more time, or send fewer requests at once.",
            ) from error
        finally:
            for ticket in tickets:
                ticket.future.cancel()

    def close(self) -> None:
        """Answer what waits, then end the thread and close the generator. Blocks; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._generator.close()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)

    def _next(self) -> list[_Ticket]:
        """The next batch: the oldest work and what can go with it. Empty when closing and nothing waits."""
        with self._changed:
            while True:
                self._forget_the_gone()
                if self._waiting:
                    break
                if self._closing:
                    return []
                self._changed.wait()
            alike = [ticket for ticket in self._waiting if ticket.work.kind == self._waiting[0].work.kind]
            batch = alike[: self._max_batch]
            taken = {id(ticket) for ticket in batch}
            self._waiting = [ticket for ticket in self._waiting if id(ticket) not in taken]
        # Neighbours of like length waste the least padding where an engine splits a batch.
        return sorted(batch, key=lambda ticket: len(ticket.work.prompt))

    def _forget_the_gone(self) -> None:
        """Drop work whose caller does not wait any more. With the lock held."""
        self._waiting = [ticket for ticket in self._waiting if not ticket.future.done()]

    def _answer(self, batch: list[_Ticket]) -> None:
        started = time.perf_counter()
        prompts = [ticket.work.prompt for ticket in batch]
        try:
            if batch[0].work.candidates is None:
                generations = self._generator.generate(prompts, n=batch[0].work.n)
            else:
                generations = self._generator.score(prompts, [ticket.work.candidates or () for ticket in batch])
        except Exception as error:  # noqa: BLE001 - whatever an engine raises belongs to the callers
            for ticket in batch:
                ticket.resolve(error)
            return
        model_ms = (time.perf_counter() - started) * 1000
        for ticket, generation in zip(batch, generations, strict=True):
            ticket.resolve(Answer(generation, (started - ticket.admitted) * 1000, model_ms))
