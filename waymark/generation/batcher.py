"""Batches the requests of many callers for one generator, off the event loop.

    event loop          submit: a place in the room of what may wait, or QueueFull at once
    tokenising thread   writes and tokenises what waits, while the model runs the batch before
    model thread        the oldest that is tokenised, with those nearest to it in length that came soon after it

Work that comes while the model is idle runs at once; what waits when the model is done with a batch may wait for
company, at most `max_wait` seconds since it came. A batch at which the engine fails is run again one by one, so that
one request fails nobody else's. Whoever goes away or passes a deadline gives up the place, and
what is not in the model by then never gets there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from waymark.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    InputTooLarge,
    QueueFull,
    ServiceError,
    ServiceUnavailable,
)
from waymark.generation import Encoded, Generation, Generator

Loss = Literal["full", "deadline", "gone", "closing"]
"""Why work was not answered: refused for want of room, too late, its caller went away, or the service ends."""

CHARACTERS_A_TOKEN = 4
"""Of ordinary text, to say how much room a prompt takes before it is tokenised."""
_NOT_THE_WORK = (ServiceError, EngineUnavailable)
"""Errors of an engine that has gone itself: it would fail at each request of a batch as it does at all of them."""
_LAST_BATCH_SECONDS = 5.0
"""How long `close` waits for the batch in the model."""
_log = logging.getLogger("waymark")
_MEMORY = 0.9
"""What the pace of a batch weighs when the next one is done."""
_SETTLED_AT_ONCE = 4
"""Answers that the event loop sends before it looks for new requests again."""
_CHOICE = 2
"""Batches that the oldest work would fill, among which a batch is chosen by length. Out of all that waits a request of
rare length would be chosen late, and get its answer when nobody wants it any more."""


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
    """About how many the prompt has: the room that it takes until it is tokenised."""
    field: str = "prompt"
    """Where the prompt stands in the request, for errors."""

    @classmethod
    def of(cls, query: Query) -> Work:
        """A query that is written already."""
        return cls(write=lambda: query, tokens=len(query.prompt) // CHARACTERS_A_TOKEN)


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
    """Is told what happens, on whatever thread it happens. This one does not care; metrics do."""

    def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        """A batch went through the model, which read `padded_tokens` input tokens, padding included."""

    def lost(self, loss: Loss, count: int) -> None:
        """So much work was given up without an answer."""


class Room:
    """What may wait in a service, all of its models together: so many requests with so many tokens. Thread-safe.

    Nor may more wait than is answered within `max_seconds` at the pace so far, so that those who are admitted get
    their answers while they still want them; but `always` requests may in any case. An empty room takes any one
    request, however long.
    """

    def __init__(self, max_requests: int, max_tokens: int, *, max_seconds: float = math.inf, always: int = 0) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._max_seconds = max_seconds
        self._always = always
        self._lock = threading.Lock()
        self._served = self._seconds = 0.0
        """Of late: requests, and how long they took."""
        self.requests = 0
        self.tokens = 0

    def check(self) -> None:
        """Raise QueueFull if not even one more request fits: asked before any work is done for it."""
        if self._is_over(self.requests + 1, self.tokens + 1):
            raise self._full()

    def enter(self, requests: int, tokens: int) -> None:
        """Take so much room. Raises QueueFull, which estimates from the pace so far when there will be some."""
        with self._lock:
            if self.requests and self._is_over(self.requests + requests, self.tokens + tokens):
                raise self._full()
            self.requests += requests
            self.tokens += tokens

    def resize(self, tokens: int) -> None:
        """A request turned out to be so many tokens longer (or shorter, below zero) than it was taken for."""
        with self._lock:
            self.tokens += tokens

    def leave(self, tokens: int) -> None:
        """A request of so many tokens does not wait any more."""
        with self._lock:
            self.requests -= 1
            self.tokens -= tokens

    def served(self, requests: int, seconds: float) -> None:
        """So many requests took so long together: the pace at which the room empties."""
        self._served = _MEMORY * self._served + requests
        self._seconds = _MEMORY * self._seconds + seconds

    def _is_over(self, requests: int, tokens: int) -> bool:
        late = requests > self._always and self._wait(requests) > self._max_seconds
        return late or requests > self._max_requests or tokens > self._max_tokens

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


@dataclass(slots=True, eq=False)
class _Ticket:
    work: Work
    future: asyncio.Future[Answer]
    expires: float
    """On the monotonic clock."""
    tokens: int
    """The room that it takes."""
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
        assert self.query is not None
        return self.query.rows


class Batcher:
    """Owns a generator and two threads. `submit` is called on one event loop, `start` and `close` from anywhere.

    A batch has at most `max_batch` requests and, padding included, `max_batch_tokens` input tokens for all rows that
    the model follows; a single request may be over that. A prompt of more than `max_input_tokens` is refused.
    """

    def __init__(
        self,
        generator: Generator,
        room: Room,
        *,
        max_batch: int,
        max_batch_tokens: int,
        max_input_tokens: int,
        max_wait: float = 0.005,
        observer: Observer | None = None,
    ) -> None:
        self._generator = generator
        self._room = room
        self._max_batch = max_batch
        self._max_batch_tokens = max_batch_tokens
        self._max_input_tokens = max_input_tokens
        self._max_wait = max_wait
        self._observer = observer or Observer()
        self._arrivals: deque[_Ticket] = deque()
        self._waiting: dict[_Ticket, None] = {}
        """All that has a place and is not in the model yet, oldest first."""
        self._next_expiry = math.inf
        """No deadline of what waits is earlier."""
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._tokenised = threading.Condition(self._lock)
        self._free_since = 0.0
        """When the model could have begun what it does now: its last batch was done, or work came."""
        self._closing = False
        self._threads = [
            threading.Thread(target=self._tokenise, name="tokenise", daemon=True),
            threading.Thread(target=self._serve, name="model", daemon=True),
        ]

    def start(self) -> None:
        """Begin to answer. Until then work only waits."""
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise ServiceUnavailable if a thread has died: what it should do would be waited for without end."""
        dead = [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]
        if dead and not self._closing:
            raise ServiceUnavailable(
                f"The thread {dead[0]!r} of a model has died.", remedy="Start the service again, and report its log."
            )

    async def submit(self, works: Sequence[Work], *, within: float | None = None) -> list[Answer]:
        """The answers to some work, admitted as a whole or not at all.

        `within` is a deadline in seconds. Raises QueueFull, DeadlineExceeded, InputTooLarge, ServiceUnavailable when
        closing, and what writing the work or the generator raises.
        """
        tickets: list[_Ticket] = []
        try:
            tickets = self._admit(works, within)
            async with asyncio.timeout(within):
                if len(tickets) == 1:
                    return [await tickets[0].future]
                return list(await asyncio.gather(*(ticket.future for ticket in tickets)))
        except QueueFull:
            self._observer.lost("full", len(works))
            raise
        except ServiceUnavailable:
            self._observer.lost("closing", len(works))
            raise
        except (TimeoutError, DeadlineExceeded) as error:
            self._observer.lost("deadline", len(works))
            raise _too_late(within) from error
        except asyncio.CancelledError:
            self._observer.lost("gone", len(works))
            raise
        finally:
            with self._lock:
                for ticket in tickets:
                    ticket.future.cancel()
                    self._leave(ticket)

    def close(self) -> None:
        """Give up what waits, end the threads after the batch in the model, free the generator. Blocks; idempotent.

        A model that does not come back within seconds is left behind: its thread ends with the process.
        """
        with self._lock:
            self._closing = True
            given_up = list(self._waiting)
            for ticket in given_up:
                self._leave(ticket)
            self._arrived.notify()
            self._tokenised.notify()
        _settle_soon([(ticket, _closing()) for ticket in given_up])
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_LAST_BATCH_SECONDS)
        if not any(thread.is_alive() for thread in self._threads):
            self._generator.close()

    # --- the room -------------------------------------------------------------------------------------------------

    def _admit(self, works: Sequence[Work], within: float | None) -> list[_Ticket]:
        loop = asyncio.get_running_loop()
        expires = math.inf if within is None else time.monotonic() + within
        tickets = [_Ticket(work, loop.create_future(), expires, work.tokens) for work in works]
        with self._lock:
            if self._closing:
                raise _closing()
            self._room.enter(len(tickets), sum(ticket.tokens for ticket in tickets))
            self._waiting.update(dict.fromkeys(tickets))
            self._next_expiry = min(self._next_expiry, expires)
            self._arrivals.extend(tickets)
            self._arrived.notify()
        return tickets

    def _leave(self, ticket: _Ticket) -> None:
        """Give the ticket's place back, once. With the lock held."""
        if ticket in self._waiting:
            del self._waiting[ticket]
            self._room.leave(ticket.tokens)

    def _drop_expired(self) -> None:
        """Forget what is past its deadline, even if the event loop has not noticed yet. With the lock held."""
        now = time.monotonic()
        if now < self._next_expiry:
            return
        late = [ticket for ticket in self._waiting if ticket.expires <= now]
        for ticket in late:
            self._leave(ticket)
        self._next_expiry = min((ticket.expires for ticket in self._waiting), default=math.inf)
        _settle_soon([(ticket, _too_late(None)) for ticket in late])

    # --- the tokenising thread ------------------------------------------------------------------------------------

    def _tokenise(self) -> None:
        while ticket := self._next_arrival():
            started = time.monotonic()
            try:
                query = ticket.work.write()
                encoded = self._encode(query, ticket.work)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the work belongs to its caller
                with self._lock:
                    self._leave(ticket)
                _settle_soon([(ticket, error)])
                continue
            with self._lock:
                ticket.query, ticket.encoded = query, encoded
                ticket.tokenise_seconds = time.monotonic() - started
                if ticket in self._waiting:
                    self._room.resize(len(encoded.ids) - ticket.tokens)
                    ticket.tokens = len(encoded.ids)
                    self._tokenised.notify()

    def _next_arrival(self) -> _Ticket | None:
        """The oldest work that is not tokenised and still wanted; None when closing."""
        with self._lock:
            while not self._closing:
                self._drop_expired()
                while self._arrivals:
                    ticket = self._arrivals.popleft()
                    if ticket in self._waiting:
                        return ticket
                self._arrived.wait()
        return None

    def _encode(self, query: Query, work: Work) -> Encoded:
        encoded = self._generator.encode([query.prompt])[0]
        tokens = len(encoded.ids) + encoded.truncated
        if tokens > self._max_input_tokens:
            raise InputTooLarge(
                f"The prompt has {tokens} tokens, over the limit of {self._max_input_tokens}.",
                remedy="Send fewer turns or shorter texts.",
                field=work.field,
            )
        return encoded

    # --- the model thread -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while batch := self._next_batch():
            error = self._run(batch)
            if error is None:
                continue
            if len(batch) == 1 or isinstance(error, _NOT_THE_WORK):
                _settle_soon([(ticket, error) for ticket in batch])
                continue
            _log.warning("A batch of %d failed, so its requests run one by one: %s", len(batch), error)
            for ticket in batch:
                if not ticket.future.done() and (error := self._run([ticket])):
                    _settle_soon([(ticket, error)])

    def _run(self, batch: Sequence[_Ticket]) -> Exception | None:
        """Answer a batch, or say what the engine raised at it."""
        try:
            answers = self._answers(batch)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises belongs to the callers
            return error
        _settle_soon(list(zip(batch, answers, strict=True)))
        began, self._free_since = self._free_since, time.monotonic()
        self._room.served(len(batch), self._free_since - began)
        self._tell(answers, sum(ticket.rows for ticket in batch) * max(ticket.length for ticket in batch))
        return None

    def _next_batch(self) -> list[_Ticket]:
        """What the model does next; waits for it. Empty when closing."""
        idle = False
        with self._lock:
            while not self._closing:
                self._drop_expired()
                ready = [ticket for ticket in self._waiting if ticket.encoded is not None]
                if not ready:
                    idle = True
                    self._tokenised.wait()
                    self._free_since = time.monotonic()
                    continue
                batch = self._company(ready)
                patience = 0.0 if idle else ready[0].admitted + self._max_wait - time.monotonic()
                if patience <= 0 or len(batch) < len(ready) or len(batch) == self._max_batch:
                    for ticket in batch:
                        self._leave(ticket)
                    return batch
                self._tokenised.wait(patience)
        return []

    def _company(self, ready: Sequence[_Ticket]) -> list[_Ticket]:
        """The oldest work and those of its kind that are nearest to it in length, within the limits; by length.

        Chosen among the oldest alone, so that nobody is passed over for long.
        """
        oldest = ready[0]
        assert oldest.query is not None
        kind = oldest.query.kind
        same = (ticket for ticket in ready if ticket.query is not None and ticket.query.kind == kind)
        alike = list(islice(same, _CHOICE * self._max_batch))
        batch: list[_Ticket] = []
        rows = longest = 0
        for ticket in sorted(alike, key=lambda one: abs(one.length - oldest.length)):
            rows, longest = rows + ticket.rows, max(longest, ticket.length)
            if batch and (len(batch) == self._max_batch or rows * longest > self._max_batch_tokens):
                break
            batch.append(ticket)
        return sorted(batch, key=lambda one: one.length)

    def _answers(self, batch: Sequence[_Ticket]) -> list[Answer]:
        """Run the batch. Raises what the engine does, and ValueError where it forgets an answer."""
        started = time.monotonic()
        queries = [ticket.query for ticket in batch if ticket.query is not None]
        prompts = [ticket.encoded for ticket in batch if ticket.encoded is not None]
        if queries[0].candidates is None:
            generations = self._generator.generate(prompts, n=queries[0].n)
        else:
            choices = [query.candidates or () for query in queries]
            generations = self._generator.score(prompts, choices, n=queries[0].n)
        seconds = time.monotonic() - started
        return [
            Answer(
                query=query,
                generation=generation,
                queue_ms=(started - ticket.admitted - ticket.tokenise_seconds) * 1000,
                tokenise_ms=ticket.tokenise_seconds * 1000,
                model_ms=seconds * 1000,
            )
            for ticket, query, generation in zip(batch, queries, generations, strict=True)
        ]

    def _tell(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        try:
            self._observer.ran(answers, padded_tokens)
        except Exception:  # noqa: BLE001 - the model's thread has others to serve
            _log.exception("The observer of a batch failed")


def _settle_soon(outcomes: Sequence[tuple[_Ticket, Answer | Exception]]) -> None:
    """Hand outcomes over to the event loop that waits for them; callers that have gone are not missed."""
    if outcomes:
        with suppress(RuntimeError):  # the loop is closed, nobody waits
            outcomes[0][0].future.get_loop().call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: Sequence[tuple[_Ticket, Answer | Exception]]) -> None:
    """Hand out a few at a time: each wakes a caller who writes an answer, and new requests would wait for all."""
    rest = outcomes[_SETTLED_AT_ONCE:]
    if rest:
        rest[0][0].future.get_loop().call_soon(_settle, rest)
    for ticket, outcome in outcomes[:_SETTLED_AT_ONCE]:
        if ticket.future.done():
            continue
        if isinstance(outcome, Exception):
            ticket.future.set_exception(outcome)
        else:
            ticket.future.set_result(outcome)


def _too_late(within: float | None) -> DeadlineExceeded:
    limit = "" if within is None else f" of {within * 1000:.0f} ms"
    return DeadlineExceeded(
        f"No answer within the deadline{limit}.", remedy="Allow more time, or send fewer requests at once."
    )


def _closing() -> ServiceUnavailable:
    return ServiceUnavailable("The service is shutting down.", remedy="Send the request again.")
