"""Batches the requests of many callers for one generator, off the event loop.

    event loop          submit: a place in the queue, or QueueFull at once
    tokenising thread   writes and tokenises what waits, while the model runs the previous batch; if the next batch is
                        full already, it tokenises several new requests together
    model thread        whose turn it is (`fairness`): the caller's oldest work that is tokenised, with the oldest work
                        of others

An engine with `parallel_batches` has as many model threads. So it gets the next batch of light work while it computes
the last one, as soon as that next batch is full, unless the queue is overloaded.

Work that arrives while the model is idle runs at once. Work that waits at the end of a batch may wait for more
requests, at most `max_wait` seconds since it arrived. Scoring of many candidates is done in steps, and other work runs
between them. If the engine fails at a batch, its requests run again one by one, so one request cannot make others fail.
A caller that disconnects or passes its deadline loses its place: its work is not started any more, and scoring ends
after the current step.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence

from waymark.errors import DeadlineExceeded, QueueFull, ServiceUnavailable
from waymark.inference import Generation, Generator, Steps, to_the_end
from waymark.inference.batching.batch_choice import Supply, choose_batch
from waymark.inference.batching.encoding import WorkEncoder
from waymark.inference.batching.fairness import HEAVY_PART, RECENTLY_SECONDS, Flow, Shares
from waymark.inference.batching.outcome_delivery import NOT_THE_WORK, closing, settle_soon, too_late
from waymark.inference.batching.queries import Answer, Observer, Work
from waymark.inference.batching.queue_capacity import QueueCapacity
from waymark.inference.batching.request_cost import CostModel, check_cost
from waymark.inference.batching.tickets import Group, Job, Ticket, prompts_of, queries_of

_LAST_BATCH_SECONDS = 5.0
"""Seconds that `close` waits for the batch in the model."""
_TOKENISE_SECONDS = 0.01
"""Seconds that new requests wait at most for the tokenising thread while the next batch is full. If each is tokenised
at once, two threads compete for Python's interpreter lock at every request. See docs/decisions/0322."""
_SPREAD_SECONDS = 0.1
"""Seconds over which the answers of a batch are sent at most while the queue is overloaded. They are sent evenly: all
that is left after some time, sent at once, would keep refusals waiting."""
_log = logging.getLogger("waymark")


class Batcher:
    """Owns a generator and its threads. `submit` is called on one event loop, `start` and `close` from anywhere.

    A batch has at most `max_batch` requests and, including padding, `max_batch_tokens` input tokens over all rows that
    the model computes; a single request may be over that. A prompt of more than `max_input_tokens` is refused, and so
    is a submission that costs more than `max_cost` according to `costs`.

    While the next batch is full already, new requests wait at most `tokenise_every` seconds (more than 0) for the
    tokenising thread. While the queue is overloaded, the answers of a batch are sent one by one, or as many at a time
    as it takes to send all of them within `spread_answers` seconds.
    """

    def __init__(
        self,
        generator: Generator,
        capacity: QueueCapacity,
        *,
        max_batch: int,
        max_batch_tokens: int,
        max_input_tokens: int,
        max_wait: float = 0.005,
        tokenise_every: float = _TOKENISE_SECONDS,
        spread_answers: float = _SPREAD_SECONDS,
        costs: CostModel | None = None,
        max_cost: float = math.inf,
        observer: Observer | None = None,
    ) -> None:
        self._generator = generator
        self._capacity = capacity
        self._max_batch = max_batch
        self._max_batch_tokens = max_batch_tokens
        self._max_wait = max_wait
        self._tokenise_every = tokenise_every
        self._spread = spread_answers
        self._observer = observer or Observer()
        self._encoder = WorkEncoder(generator, costs, max_input_tokens=max_input_tokens, max_cost=max_cost)
        self._max_cost = max_cost
        self._light_cost = max_batch_tokens // HEAVY_PART
        self._last_light_arrival = -math.inf
        self._arrivals: dict[Flow, deque[Ticket]] = {}
        self._arrival_shares, self._shares = Shares(), Shares()
        self._jobs: dict[Flow, Job] = {}
        """Begun and not done, one for each flow."""
        self._waiting: dict[Ticket, None] = {}
        """All that has a place and is not in the model yet, oldest first."""
        self._next_expiry = math.inf
        """No deadline of what waits is earlier."""
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._tokenised = threading.Condition(self._lock)
        self._next_has_room = threading.Condition(self._lock)
        self._supply = Supply()
        """What the next batch can be chosen from."""
        self._next_is_full = False
        """Whether enough light work for another batch was tokenised when the model's last batch began."""
        self._in_model = 0
        """Number of batches, or steps of scoring, that the model computes."""
        self._is_alone = False
        """Whether nothing else may run beside what the model computes."""
        self._light_cost_in_model = 0
        self._flows_in_model: Counter[Flow] = Counter()
        """By flow, how many of its requests are in the model, or between two steps."""
        self._is_idle = False
        """Whether the model waits for work."""
        self._free_since = 0.0
        """When the model could have begun what it does now: its last batch was done, or work came."""
        self._closing = False
        self._threads = [
            threading.Thread(target=self._tokenise, name="tokenise", daemon=True),
            *(
                threading.Thread(target=self._serve, name=f"model {number}", daemon=True)
                for number in range(1, generator.parallel_batches + 1)
            ),
        ]

    def start(self) -> None:
        """Start the threads. Before that, work only waits."""
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise ServiceUnavailable if a thread has died, because its work would never be done."""
        dead = [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]
        if dead and not self._closing:
            raise ServiceUnavailable(
                f"The thread {dead[0]!r} of a model has died.", remedy="Start the service again, and report its log."
            )

    async def submit(self, works: Sequence[Work], *, within: float | None = None, caller: str = "") -> list[Answer]:
        """The answers to some work, admitted as a whole or not at all.

        `within` is a deadline in seconds; callers share the model fairly. Raises QueueFull, DeadlineExceeded,
        InputTooLarge, ServiceUnavailable while closing, and the errors of rendering and of the generator.
        """
        tickets: list[Ticket] = []
        try:
            tickets = self._admit(works, within, caller)
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
            raise too_late(within) from error
        except asyncio.CancelledError:
            self._observer.lost("gone", len(works))
            raise
        finally:
            with self._lock:
                for ticket in tickets:
                    ticket.future.cancel()
                    self._leave(ticket)

    def close(self) -> None:
        """Drop all waiting work, end the threads after the current batch, and free the generator. Blocks; idempotent.

        If the model does not finish in time, its thread is left running and ends with the process.
        """
        with self._lock:
            self._closing = True
            given_up = list(self._waiting)
            for ticket in given_up:
                self._leave(ticket)
            for condition in (self._arrived, self._next_has_room, self._tokenised):
                condition.notify_all()
        settle_soon([(ticket, closing()) for ticket in given_up])
        deadline = time.monotonic() + _LAST_BATCH_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._generator.close()

    # --- what waits -------------------------------------------------------------------------------------------------

    def _admit(self, works: Sequence[Work], within: float | None, caller: str) -> list[Ticket]:
        loop = asyncio.get_running_loop()
        expires = math.inf if within is None else time.monotonic() + within
        costs = [self._encoder.expected_cost(work) for work in works]
        group = Group(sum(costs))
        check_cost(group.cost, self._max_cost, works[0].cost_field if len(works) == 1 else "")
        flow = Flow(caller, heavy=group.cost > self._light_cost)
        tickets = [
            Ticket(work, loop.create_future(), expires, cost, flow, group)
            for work, cost in zip(works, costs, strict=True)
        ]
        with self._lock:
            if self._closing:
                raise closing()
            self._capacity.enter(len(tickets), group.cost, flow)
            if not flow.heavy:
                self._last_light_arrival = tickets[0].admitted
            self._waiting.update(dict.fromkeys(tickets))
            self._next_expiry = min(self._next_expiry, expires)
            self._arrivals.setdefault(flow, deque()).extend(tickets)
            self._arrived.notify()
        return tickets

    def _leave(self, ticket: Ticket) -> None:
        """Free the ticket's place, once. The caller holds the lock."""
        if ticket in self._waiting:
            del self._waiting[ticket]
            self._capacity.leave(ticket.cost, ticket.flow)

    def _drop_expired(self) -> None:
        """Drop work that is past its deadline, even if the event loop has not noticed it yet. The caller holds the
        lock.
        """
        now = time.monotonic()
        if now < self._next_expiry:
            return
        late = [ticket for ticket in self._waiting if ticket.expires <= now]
        for ticket in late:
            self._leave(ticket)
        self._next_expiry = min((ticket.expires for ticket in self._waiting), default=math.inf)
        settle_soon([(ticket, too_late(None)) for ticket in late])

    # --- the tokenising thread ------------------------------------------------------------------------------------

    def _tokenise(self) -> None:
        while ticket := self._next_arrival():
            started = time.monotonic()
            try:
                query = ticket.work.write()
                encoded = self._encoder.encode(query, ticket.work)
                cost = self._encoder.cost(query, encoded)
                ticket.group.cost += cost - ticket.cost
                check_cost(ticket.group.cost, self._max_cost, ticket.work.cost_field)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the work belongs to its caller
                with self._lock:
                    self._arrival_shares.charge(ticket.flow, time.monotonic() - started)
                    self._leave(ticket)
                settle_soon([(ticket, error)])
                continue
            with self._lock:
                ticket.query, ticket.encoded = query, encoded
                ticket.tokenise_seconds = time.monotonic() - started
                self._arrival_shares.charge(ticket.flow, ticket.tokenise_seconds)
                if ticket in self._waiting:
                    self._capacity.resize(cost - ticket.cost, ticket.flow)
                    ticket.cost = cost
                    self._supply.add(ticket)
                    if not self._in_model or self._may_begin_another():
                        self._tokenised.notify()

    def _next_arrival(self) -> Ticket | None:
        """The oldest work that is not tokenised and still wanted, of the caller whose turn it is; None when closing."""
        with self._lock:
            while not self._closing:
                self._drop_expired()
                while self._arrivals:
                    flow = self._arrival_shares.next(self._arrivals)
                    tickets = self._arrivals[flow]
                    ticket = tickets.popleft()
                    if not tickets:
                        del self._arrivals[flow]
                    if ticket in self._waiting:
                        return ticket
                if self._next_is_full:
                    self._next_has_room.wait(self._tokenise_every)
                else:
                    self._arrived.wait()
        return None

    # --- the model threads ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while turn := self._next_turn():
            if isinstance(turn, Job):
                self._advance(turn)
            elif _is_scoring(turn):
                self._advance(Job(turn, self._score(turn), self._flow_without_job(turn), time.monotonic()))
            elif error := self._run(turn):
                self._settle_failed(turn, error)
            self._end(turn)
        with self._lock:
            given_up = [job.batch for job in self._jobs.values()]
            self._jobs.clear()
            for batch in given_up:
                self._forget(batch)
        settle_soon([(ticket, closing()) for batch in given_up for ticket in batch])

    def _settle_failed(self, batch: Sequence[Ticket], error: Exception) -> None:
        """A batch failed: run its requests one by one, to find those that cause the error."""
        if len(batch) == 1 or isinstance(error, NOT_THE_WORK):
            settle_soon([(ticket, error) for ticket in batch])
            return
        _log.warning("A batch of %d failed, so its requests run one by one: %s", len(batch), error)
        for ticket in batch:
            if not ticket.future.done() and (alone := self._run([ticket])):
                settle_soon([(ticket, alone)])

    def _run(self, batch: Sequence[Ticket]) -> Exception | None:
        """Compute the answers of a batch, or return the engine's error."""
        started = time.monotonic()
        try:
            query = batch[0].query
            assert query is not None
            if query.candidates is None:
                generations = self._generator.generate(prompts_of(batch), n=query.n)
            else:
                generations = to_the_end(self._score(batch))
            seconds = self._ended(batch, started)
            self._answer(batch, generations, seconds)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises belongs to the callers
            return error
        self._charge(batch, seconds)
        return None

    def _ended(self, batch: Sequence[Ticket], started: float) -> float:
        """Record that a batch is computed. Returns for how many seconds the model computed it: while the batch before
        was in the model, it waited.
        """
        with self._lock:
            began, self._free_since = self._free_since, time.monotonic()
            self._capacity.served(sum(ticket.cost for ticket in batch), self._free_since - began)
            return self._free_since - max(started, began)

    def _advance(self, job: Job) -> None:
        """Do one step of scoring. The work is dropped if no caller waits for it."""
        with self._lock:
            self._jobs.pop(job.flow, None)
        if all(ticket.future.done() for ticket in job.batch):
            job.steps.close()
            return
        began = time.monotonic()
        try:
            next(job.steps)
        except StopIteration as done:
            job.seconds += time.monotonic() - began
            if not job.is_begun:  # no other work ran in between
                self._ended(job.batch, job.started)
            try:
                self._answer(job.batch, done.value, job.seconds, started=job.started)
            except Exception as error:  # noqa: BLE001 - an engine that forgets an answer has failed
                self._settle_failed(job.batch, error)
            self._charge(job.batch, time.monotonic() - began)
            return
        except Exception as error:  # noqa: BLE001 - whatever an engine raises belongs to the callers
            self._settle_failed(job.batch, error)
            return
        job.seconds += time.monotonic() - began
        job.is_begun = True
        self._charge(job.batch, time.monotonic() - began)
        with self._lock:
            self._jobs[job.flow] = job
            if all(ticket.encoded is None for ticket in self._waiting):
                self._free_since = time.monotonic()  # nobody waited for this step

    def _flow_without_job(self, batch: Sequence[Ticket]) -> Flow:
        """A flow of a new batch that has no job yet, as the flow whose turn it is."""
        with self._lock:
            return next(ticket.flow for ticket in batch if ticket.flow not in self._jobs)

    def _charge(self, batch: Sequence[Ticket], seconds: float) -> None:
        """Charge the model's time for a batch to its requests, in proportion to their costs."""
        cost = sum(ticket.cost for ticket in batch) or 1
        with self._lock:
            for ticket in batch:
                self._shares.charge(ticket.flow, seconds * ticket.cost / cost)

    def _next_turn(self) -> list[Ticket] | Job | None:
        """Wait for the next work of the model, and begin it. None when closing."""
        with self._lock:
            while not self._closing:
                turn, patience = self._choose_turn()
                if turn:
                    self._begin(turn)
                    return turn
                self._tokenised.wait(patience)
        return None

    def _choose_turn(self) -> tuple[list[Ticket] | Job | None, float | None]:
        """The next work of the model; or None, and for how many seconds a larger batch is worth waiting (None: until
        there is more work). The caller holds the lock.
        """
        if self._in_model and not self._may_begin_another():
            return None, None
        self._drop_expired()
        ready = [ticket for ticket in self._waiting if ticket.encoded is not None]
        if not ready and not self._jobs:
            if not self._in_model:
                self._is_idle = True
                self._set_left([])
            return None, None
        flows = dict.fromkeys([ticket.flow for ticket in ready])
        flow = self._shares.next(flows | dict.fromkeys(self._jobs), self._flows_in_model)
        if self._in_model and flow.heavy:
            return None, None
        if job := self._jobs.get(flow):
            return job, None
        # Light work that comes while a batch of heavy work runs waits for all of it.
        is_beside = flow.heavy and time.monotonic() - self._last_light_arrival < RECENTLY_SECONDS
        max_tokens = self._light_cost if is_beside else self._max_batch_tokens
        batch, of_class, of_kind = choose_batch(ready, flow, max_batch=self._max_batch, max_tokens=max_tokens)
        if self._in_model:
            is_full = len(batch) < of_kind or len(batch) == self._max_batch
            return (batch, None) if is_full and not _runs_alone(batch) else (None, None)
        oldest = next(ticket for ticket in ready if ticket.flow == flow)
        patience = 0.0 if self._is_idle or self._jobs else oldest.admitted + self._max_wait - time.monotonic()
        is_full = len(batch) < of_class or len(batch) == self._max_batch  # other kinds of work need not wait for more
        return (batch, None) if is_full or patience <= 0 else (None, patience)

    def _may_begin_another(self) -> bool:
        """Whether the model may get another batch beside the one that it computes, and there seems to be enough work
        for it. While the queue is overloaded, it may not: refusals are late if the model leaves no core idle. The
        caller holds the lock.
        """
        return (
            self._in_model < self._generator.parallel_batches
            and not self._is_alone
            and not self._jobs
            and self._supply.may_fill(max_batch=self._max_batch, max_tokens=self._max_batch_tokens)
            and not self._capacity.overloaded
        )

    def _begin(self, turn: list[Ticket] | Job) -> None:
        """Record that the model computes this from now on. The caller holds the lock."""
        self._in_model += 1
        self._is_alone = _runs_alone(turn)
        if self._is_idle:
            self._is_idle = False
            self._free_since = time.monotonic()
        if isinstance(turn, Job):
            return
        for ticket in turn:
            self._leave(ticket)
        self._set_left([ticket for ticket in self._waiting if ticket.encoded is not None])
        self._flows_in_model.update(ticket.flow for ticket in turn)
        cost = _light_cost(turn)
        if cost:
            self._light_cost_in_model += cost
            self._capacity.begins(self, cost)
        if self._may_begin_another():
            self._tokenised.notify()

    def _end(self, turn: list[Ticket] | Job) -> None:
        """Record that the model has computed this, or a step of it."""
        batch = turn.batch if isinstance(turn, Job) else turn
        with self._lock:
            self._in_model -= 1
            self._is_alone = False
            if any(job.batch is batch for job in self._jobs.values()):
                return  # further steps follow
            self._forget(batch)

    def _forget(self, batch: Sequence[Ticket]) -> None:
        """Count a batch no more as work in the model. The caller holds the lock."""
        self._flows_in_model -= Counter(ticket.flow for ticket in batch)
        self._light_cost_in_model -= _light_cost(batch)
        self._capacity.ends(self, self._light_cost_in_model)

    def _set_left(self, tokenised: Sequence[Ticket]) -> None:
        """Record the tokenised work that the next batch can be chosen from. The caller holds the lock."""
        self._supply = Supply.of(tokenised)
        self._next_is_full = self._supply.requests >= self._max_batch
        if not self._next_is_full:
            self._next_has_room.notify()

    def _score(self, batch: Sequence[Ticket]) -> Steps:
        queries = queries_of(batch)
        choices = [query.candidates or () for query in queries]
        return self._generator.score_in_steps(prompts_of(batch), choices, n=queries[0].n)

    def _answer(
        self,
        batch: Sequence[Ticket],
        generations: Sequence[Generation],
        seconds: float,
        *,
        started: float | None = None,
    ) -> None:
        """Deliver the answers. Raises ValueError if some are missing.

        The model has computed them for so many seconds, without a pause unless `started` is given.
        """
        began = time.monotonic() - seconds if started is None else started
        answers = [
            Answer(
                query=query,
                generation=generation,
                queue_ms=(began - ticket.admitted - ticket.tokenise_seconds) * 1000,
                tokenise_ms=ticket.tokenise_seconds * 1000,
                model_ms=seconds * 1000,
            )
            for ticket, query, generation in zip(batch, queries_of(batch), generations, strict=True)
        ]
        settle_soon(
            list(zip(batch, answers, strict=True)), spread_seconds=self._spread if self._capacity.overloaded else 0.0
        )
        self._report(answers, sum(ticket.rows for ticket in batch) * max(ticket.length for ticket in batch))

    def _report(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        try:
            self._observer.ran(answers, padded_tokens)
        except Exception:  # noqa: BLE001 - the model's thread has others to serve
            _log.exception("The observer of a batch failed")


def _is_scoring(batch: Sequence[Ticket]) -> bool:
    return batch[0].query is not None and batch[0].query.candidates is not None


def _runs_alone(turn: Sequence[Ticket] | Job) -> bool:
    """Whether the model computes nothing else beside: a step of scoring, or heavy work."""
    return isinstance(turn, Job) or _is_scoring(turn) or turn[0].flow.heavy


def _light_cost(batch: Sequence[Ticket]) -> int:
    """What a batch of light work costs; 0 for heavy work."""
    return 0 if batch[0].flow.heavy else sum(ticket.cost for ticket in batch)
