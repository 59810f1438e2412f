"""The batcher: what shares a batch, what is refused, what is dropped, what is answered at the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from waymark.errors import DeadlineExceeded, InputTooLarge, QueueFull, ServiceUnavailable
from waymark.inference import Encoded, Generation, Prompt
from waymark.inference.batching import Answer, Batcher, Loss, Observer, Query, QueueCapacity, Work
from waymark.inference.batching.fairness import Flow
from waymark.inference.batching.outcome_delivery import closing, settle_soon
from waymark.inference.batching.tickets import Group, Ticket
from waymark.inference.engines.scripted import ScriptedGenerator

pytestmark = pytest.mark.anyio


class Gated(ScriptedGenerator):
    """Answers a prompt with itself, once the gate is open; remembers its batches. A token is a character."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: [(f"{prompt} {rank}", -1.0 - rank) for rank in range(4)])
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []
        self.encoded: list[str] = []
        self.closed = False

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        self.encoded += prompts
        return [Encoded(text=prompt, ids=list(range(len(prompt))), truncated=0) for prompt in prompts]

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        self._enter(prompts)
        return super().generate(prompts, n=n)

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        self._enter(prompts)
        return super().score(prompts, candidates, n=n)

    def close(self) -> None:
        self.closed = True

    def _enter(self, prompts: Sequence[Prompt]) -> None:
        texts = [prompt if isinstance(prompt, str) else prompt.text for prompt in prompts]
        self.batches.append(texts)
        self.entered.set()
        self.gate.wait()
        if "bad" in texts:
            raise ValueError("a fault of the engine")


class Stepped(Gated):
    """Computes one batch at each `step.release()`."""

    def __init__(self) -> None:
        super().__init__()
        self.step = threading.Semaphore(0)

    def _enter(self, prompts: Sequence[Prompt]) -> None:
        super()._enter(prompts)
        self.step.acquire()


class Tally(Observer):
    """Remembers what was lost, and how many input tokens each batch had."""

    def __init__(self) -> None:
        self.losses: list[tuple[Loss, int]] = []
        self.padded: list[int] = []

    def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
        self.padded.append(padded_tokens)

    def lost(self, loss: Loss, count: int) -> None:
        self.losses.append((loss, count))


@pytest.fixture
def generator() -> Iterator[Gated]:
    gated = Gated()
    yield gated
    gated.gate.set()


@pytest.fixture
def stepped() -> Iterator[Stepped]:
    generator = Stepped()
    generator.gate.set()
    yield generator
    generator.step.release(9)


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def capacity() -> QueueCapacity:
    return QueueCapacity(max_requests=9, max_tokens=1_000)


@pytest.fixture
def batcher(generator: Gated, capacity: QueueCapacity, tally: Tally) -> Iterator[Batcher]:
    started = make(generator, capacity, tally)
    yield started
    generator.gate.set()
    started.close()


def make(generator: Gated, capacity: QueueCapacity, observer: Observer, **limits: Any) -> Batcher:
    few = {"max_batch": 9, "max_batch_tokens": 1_000, "max_input_tokens": 100, "max_wait": 0.0}
    return Batcher(generator, capacity, observer=observer, **(few | limits))


def ask(batcher: Batcher, *queries: str | Query, within: float | None = None) -> asyncio.Task[list[Answer]]:
    return asyncio.create_task(batcher.submit([work(query) for query in queries], within=within))


def work(query: str | Query) -> Work:
    """Takes more capacity until it is tokenised, so that one can see when that is."""
    written = query if isinstance(query, Query) else Query(query)
    return Work(write=lambda: written, tokens=len(written.prompt) + 1)


async def running(batcher: Batcher, generator: Gated) -> asyncio.Task[list[Answer]]:
    """Start the batcher and go on when the model is busy with one request."""
    batcher.start()
    busy = ask(batcher, "running")
    await asyncio.to_thread(generator.entered.wait)
    return busy


async def tokenised(capacity: QueueCapacity, tokens: int) -> None:
    """Go on when what waits is known to have so many tokens."""
    while capacity.tokens != tokens:  # noqa: ASYNC110 - it happens in another thread
        await asyncio.sleep(0.001)


def text(answers: Sequence[Answer]) -> list[str]:
    return [answer.generation.candidates[0].text for answer in answers]


async def test_work_tokenised_during_a_batch_forms_the_next_one(
    batcher: Batcher, generator: Gated, capacity: QueueCapacity
) -> None:
    busy = await running(batcher, generator)
    first, second = ask(batcher, "ccc", "a"), ask(batcher, "bb", "dddd")
    await tokenised(capacity, 10)
    assert generator.batches == [["running"]]
    generator.gate.set()
    assert text([*await busy, *await first, *await second]) == ["running 0", "ccc 0", "a 0", "bb 0", "dddd 0"]
    assert generator.batches == [["running"], ["a", "bb", "ccc", "dddd"]]


async def test_an_idle_model_does_not_wait(generator: Gated, capacity: QueueCapacity, tally: Tally) -> None:
    batcher = make(generator, capacity, tally, max_wait=1e9)
    generator.gate.set()
    batcher.start()
    assert text(await ask(batcher, "alone")) == ["alone 0"]
    batcher.close()


async def test_waiting_work_is_batched_until_its_wait_ends(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    for max_wait, company in ((1e9, True), (0.005, False)):
        batcher = make(generator, capacity, tally, max_batch=2, max_wait=max_wait)
        generator.batches.clear()
        generator.gate.clear()
        generator.entered.clear()
        busy = await running(batcher, generator)
        first = ask(batcher, "first")
        await tokenised(capacity, len("first"))
        generator.gate.set()
        await busy
        second = ask(batcher, "second") if company else None
        assert text(await first) == ["first 0"]
        assert generator.batches[1:] == [["first", "second"] if company else ["first"]]
        if second is not None:
            await second
        batcher.close()


async def test_a_batch_holds_the_nearest_lengths_within_its_token_limit(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch_tokens=12)
    busy = await running(batcher, generator)
    oldest = ask(batcher, "aaaa")
    others = ask(batcher, "b", "cccccccccc", "dddd", "eee")
    await tokenised(capacity, 22)
    generator.gate.set()
    await asyncio.gather(busy, oldest, others)
    assert generator.batches[1:] == [["eee", "aaaa", "dddd"], ["b"], ["cccccccccc"]]
    batcher.close()
    assert tally.padded == [7, 12, 1, 10]


async def test_batches_are_filled_from_the_oldest_requests(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    waiting = ask(batcher, "aa", "bbbb", "cccccccc", "dd", "ee", "ff", "like")
    await tokenised(capacity, 24)
    generator.gate.set()
    await asyncio.gather(busy, waiting)
    assert generator.batches[1:] == [["aa", "bbbb"], ["dd", "cccccccc"], ["ee", "ff"], ["like"]]
    batcher.close()


async def test_rows_of_a_beam_count_and_one_request_always_fits(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch_tokens=12)
    busy = await running(batcher, generator)
    beams = ask(batcher, Query("aaaa", n=4), Query("b", n=4), Query("c", n=4))
    await tokenised(capacity, 6)
    generator.gate.set()
    await asyncio.gather(busy, beams)
    assert generator.batches[1:] == [["aaaa"], ["b", "c"]]
    batcher.close()


async def test_greedy_beams_and_scoring_do_not_share_a_batch(
    batcher: Batcher, generator: Gated, capacity: QueueCapacity
) -> None:
    busy = await running(batcher, generator)
    queries = [
        Query("a"),
        Query("b", n=2),
        Query("c", n=2, candidates=("c 1", "c 0")),
        Query("d"),
        Query("e", n=2),
        Query("f", candidates=("f 1", "f 0")),
    ]
    tasks = [ask(batcher, query) for query in queries]
    await tokenised(capacity, 12)
    generator.gate.set()
    await busy
    answers = [(await task)[0] for task in tasks]
    assert text(answers) == ["a 0", "b 0", "c 0", "d 0", "e 0", "f 0"]
    assert [len(answer.generation.candidates) for answer in answers] == [1, 2, 2, 1, 2, 1]
    assert generator.batches[1:] == [["a", "d"], ["b", "e"], ["c"], ["f"]]


async def test_a_full_queue_refuses_and_keeps_its_requests(generator: Gated, tally: Tally) -> None:
    batcher = make(generator, QueueCapacity(max_requests=2, max_tokens=1_000), tally)
    busy = await running(batcher, generator)
    waiting = ask(batcher, "one", "two")
    await asyncio.sleep(0)
    with pytest.raises(QueueFull) as refused:
        await ask(batcher, "three")
    assert refused.value.retry_seconds >= 1
    generator.gate.set()
    assert text([*await busy, *await waiting]) == ["running 0", "one 0", "two 0"]
    assert tally.losses == [("full", 1)]
    assert "three" not in generator.encoded
    batcher.close()


async def test_a_queue_is_bounded_in_tokens_counted_once_tokenised(generator: Gated, tally: Tally) -> None:
    capacity = QueueCapacity(max_requests=9, max_tokens=10)
    batcher = make(generator, capacity, tally)
    await running(batcher, generator)
    known = threading.Event()
    overrated = asyncio.create_task(
        batcher.submit([Work(write=lambda: Query("aaaa" if known.wait() else ""), tokens=10)])
    )
    await asyncio.sleep(0)
    assert (capacity.requests, capacity.tokens) == (1, 10)
    with pytest.raises(QueueFull):
        await ask(batcher, "b")
    known.set()
    await tokenised(capacity, 4)
    fitting = asyncio.create_task(batcher.submit([Work(write=lambda: Query("cccccc"), tokens=6)]))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        capacity.check()
    generator.gate.set()
    await asyncio.gather(overrated, fitting)
    assert (capacity.requests, capacity.tokens) == (0, 0)
    batcher.close()


async def test_the_time_to_retry_follows_from_the_throughput_so_far() -> None:
    capacity = QueueCapacity(max_requests=10, max_tokens=100)
    capacity.enter(10, 10)
    capacity.served(4, seconds=2.0)
    with pytest.raises(QueueFull) as refused:
        capacity.check()
    assert refused.value.retry_seconds == 5


async def test_the_queue_is_bounded_by_time_but_takes_one_list() -> None:
    capacity = QueueCapacity(max_requests=100, max_tokens=1_000, max_seconds=1.0, always=3)
    capacity.enter(20, 20)
    capacity.served(10, seconds=2.0)
    with pytest.raises(QueueFull):
        capacity.check()
    for _ in range(18):
        capacity.leave(1)
    capacity.enter(1, 1)
    capacity.enter(1, 1)  # 4 wait, and 5 are answered in a second
    with pytest.raises(QueueFull):
        capacity.enter(3, 3)  # the last of them would wait for 6
    capacity.served(1, seconds=98.0)
    capacity.leave(1)
    capacity.leave(1)
    capacity.enter(1, 1)
    assert capacity.requests == 3
    with pytest.raises(QueueFull):
        capacity.check()


def test_a_queue_of_long_prompts_holds_fewer_of_them() -> None:
    capacity = QueueCapacity(max_requests=100, max_tokens=100_000, max_seconds=0.5)
    capacity.served(1_000, seconds=1.0)
    for _ in range(6):  # the last one waits for 500 tokens, half a second
        capacity.enter(1, 100)
    with pytest.raises(QueueFull):
        capacity.check()
    for _ in range(6):
        capacity.leave(100)
    for _ in range(51):
        capacity.enter(1, 10)
    with pytest.raises(QueueFull, match=r"for about 0\.5 s"):
        capacity.check()


def room(capacity: QueueCapacity, tokens: int) -> int:
    """How many requests of this cost the queue admits now."""
    entered = 0
    with contextlib.suppress(QueueFull):
        while True:
            capacity.enter(1, tokens)
            entered += 1
    for _ in range(entered):
        capacity.leave(tokens)
    return entered


def test_a_batch_that_runs_frees_its_room_little_by_little() -> None:
    now = 100.0
    capacity = QueueCapacity(max_requests=100, max_tokens=100_000, max_seconds=0.5, clock=lambda: now)
    capacity.served(1_000, seconds=1.0)

    capacity.begins("executor", 400)
    assert room(capacity, 10) == 11
    now += 0.2
    assert room(capacity, 10) == 31
    now += 1.0  # longer than the batch should have taken
    assert room(capacity, 10) == 51
    capacity.begins("executor", 400)
    capacity.begins("other", 400)
    assert room(capacity, 10) == 1  # an empty queue admits any request
    capacity.ends("other", 0)
    assert room(capacity, 10) == 11


def test_the_length_of_the_queue_follows_the_pace_of_seconds() -> None:
    capacity = QueueCapacity(max_requests=10_000, max_tokens=100_000, max_seconds=0.5)

    for _ in range(100):
        capacity.served(32, seconds=0.08)
    usual = room(capacity, 1)
    assert usual in (199, 200)
    capacity.served(32, seconds=0.02)
    assert usual < room(capacity, 1) < 1.03 * usual
    for _ in range(20):
        capacity.served(32, seconds=0.32)
    assert room(capacity, 1) < usual / 2


async def rounds_of_delivery(
    generator: Gated, batcher: Batcher, capacity: QueueCapacity, *, round_seconds: float = 0.0
) -> set[int]:
    """Answer a batch of nine. Returns how many answers had been delivered in each round of the event loop."""
    busy = await running(batcher, generator)
    waiting = [ask(batcher, name) for name in ("aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii")]
    await tokenised(capacity, 18)
    with pytest.raises(QueueFull):
        capacity.check()
    delivered: list[object] = []
    for answers in waiting:
        answers.add_done_callback(delivered.append)
    rounds: set[int] = set()

    async def watch() -> None:
        while len(delivered) < len(waiting):
            rounds.add(len(delivered))
            time.sleep(round_seconds)  # noqa: ASYNC251 - refusals that fill the round
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    generator.gate.set()
    await asyncio.gather(busy, watching)
    assert generator.batches[1:] == [["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii"]]
    batcher.close()
    return rounds


async def test_an_overloaded_queue_delivers_one_answer_a_round(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, spread_answers=1e6)
    assert await rounds_of_delivery(generator, batcher, capacity) == set(range(9))


async def test_answers_do_not_wait_for_many_rounds_full_of_refusals(
    generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, spread_answers=0.02)
    assert 8 not in await rounds_of_delivery(generator, batcher, capacity, round_seconds=0.01)


@pytest.mark.parametrize(
    ("round_ms", "deadlines_ms", "delivered"),
    [
        (1, [1_000] * 9, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (25, [1_000] * 9, [1, 3, 5, 7, 9]),
        (50, [1_000] * 9, [1, 5, 9]),
        (200, [1_000] * 9, [1, 9]),
        (1, [1_000] * 5 + [90] * 4, [4, 5, 6, 7, 8, 9]),
        (25, [1_000] * 5 + [140] * 4, [1, 4, 5, 7, 9]),
    ],
)
async def test_answers_are_spread_evenly_unless_they_expire(
    round_ms: int, deadlines_ms: list[int], delivered: list[int]
) -> None:
    now = 0.0
    loop = asyncio.get_running_loop()
    tickets = [
        Ticket(work=work("aa"), future=loop.create_future(), expires=ms / 1000, cost=1, flow=Flow(""), group=Group(1))
        for ms in deadlines_ms
    ]
    settle_soon([(ticket, closing()) for ticket in tickets], spread_seconds=0.1, clock=lambda: now)
    counts: list[int] = []
    while len(counts) < len(delivered):
        now += round_ms / 1000
        await asyncio.sleep(0)
        done = [ticket for ticket in tickets if ticket.future.done()]
        counts.append(len(done))
        assert max(ticket.expires for ticket in done) <= min(
            (ticket.expires for ticket in tickets if ticket not in done), default=1.0
        )
    assert counts == delivered
    assert all(isinstance(ticket.future.exception(), ServiceUnavailable) for ticket in tickets)


async def test_a_second_after_a_refusal_answers_are_delivered_together(generator: Gated, tally: Tally) -> None:
    times = itertools.count()
    capacity = QueueCapacity(max_requests=9, max_tokens=1_000, clock=lambda: float(next(times)))
    batcher = make(generator, capacity, tally, spread_answers=1e6)
    assert await rounds_of_delivery(generator, batcher, capacity) == {0}


def test_a_refusal_for_the_share_of_heavy_work_is_no_overload() -> None:
    capacity = QueueCapacity(max_requests=9, max_tokens=1_000)
    capacity.enter(1, 450, Flow("a", heavy=True))
    with pytest.raises(QueueFull):
        capacity.enter(1, 100, Flow("b", heavy=True))
    assert not capacity.overloaded
    with pytest.raises(QueueFull):
        capacity.enter(9, 9, Flow("b"))
    assert capacity.overloaded


async def with_a_full_next_batch(
    stepped: Stepped, batcher: Batcher, capacity: QueueCapacity
) -> list[asyncio.Task[list[Answer]]]:
    """Let a batch of two run while two more requests are tokenised. Returns the answers to come."""
    busy = await running(batcher, stepped)
    waiting = [ask(batcher, name) for name in ("aa", "bb", "cc", "dd")]
    await tokenised(capacity, 8)
    stepped.step.release()
    while len(stepped.batches) < 2:  # noqa: ASYNC110 - it happens in another thread
        await asyncio.sleep(0.001)
    return [busy, *waiting]


async def while_it_waits(stepped: Stepped, batcher: Batcher) -> list[asyncio.Task[list[Answer]]]:
    """Ask until a request is not tokenised at once. Returns the answers to come, that of this request last."""
    waiting = []
    for number in range(40):
        name = f"f{number}"
        waiting.append(ask(batcher, name))
        await asyncio.sleep(0.1)
        if name not in stepped.encoded:  # the thread may have been about to take the one before
            return waiting
    pytest.fail("Each request is tokenised when it comes.")


@pytest.fixture
def large() -> QueueCapacity:
    return QueueCapacity(max_requests=100, max_tokens=1_000)


async def test_new_work_is_tokenised_once_the_next_batch_has_room(
    stepped: Stepped, large: QueueCapacity, tally: Tally
) -> None:
    batcher = make(stepped, large, tally, max_batch=2, tokenise_every=1e6)
    async with asyncio.timeout(30):
        waiting = await with_a_full_next_batch(stepped, batcher, large)
        waiting += await while_it_waits(stepped, batcher)
        stepped.step.release(100)
        await asyncio.gather(*waiting)
    batcher.close()


async def test_new_work_is_tokenised_soon_even_if_the_next_batch_is_full(
    stepped: Stepped, large: QueueCapacity, tally: Tally
) -> None:
    batcher = make(stepped, large, tally, max_batch=2)
    async with asyncio.timeout(30):
        waiting = await with_a_full_next_batch(stepped, batcher, large)
        for name in ("ee", "ff", "gg"):
            waiting.append(ask(batcher, name))
            while name not in stepped.encoded:  # noqa: ASYNC110 - it happens in another thread
                await asyncio.sleep(0.001)
        assert len(stepped.batches) == 2
        stepped.step.release(100)
        await asyncio.gather(*waiting)
    batcher.close()


async def test_new_work_is_tokenised_when_a_full_next_batch_is_cancelled(
    stepped: Stepped, large: QueueCapacity, tally: Tally
) -> None:
    batcher = make(stepped, large, tally, max_batch=2, tokenise_every=1e6)
    async with asyncio.timeout(30):
        waiting = await with_a_full_next_batch(stepped, batcher, large)
        waiting += await while_it_waits(stepped, batcher)
        for answer in waiting[3:]:
            answer.cancel()
        await asyncio.wait(waiting[3:])
        stepped.step.release(100)
        assert text(await ask(batcher, "new")) == ["new 0"]
    batcher.close()


async def test_a_batcher_whose_next_batch_is_full_closes(stepped: Stepped, large: QueueCapacity, tally: Tally) -> None:
    batcher = make(stepped, large, tally, max_batch=2, tokenise_every=1e6)
    async with asyncio.timeout(30):
        waiting = await with_a_full_next_batch(stepped, batcher, large)
        waiting += await while_it_waits(stepped, batcher)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        for answer in waiting[3:]:
            with pytest.raises(ServiceUnavailable):
                await answer
        stepped.step.release(100)
        await closing
        await asyncio.gather(*waiting[:3])
    assert stepped.closed


async def test_work_past_its_deadline_never_reaches_the_model(generator: Gated, tally: Tally) -> None:
    capacity = QueueCapacity(max_requests=1, max_tokens=1_000)
    batcher = make(generator, capacity, tally)
    busy = await running(batcher, generator)
    with pytest.raises(DeadlineExceeded):
        await ask(batcher, "late", within=0.01)
    assert capacity.requests == 0
    patient = ask(batcher, "patient")
    await asyncio.sleep(0)
    generator.gate.set()
    await asyncio.gather(busy, patient)
    assert generator.batches == [["running"], ["patient"]]
    assert tally.losses == [("deadline", 1)]
    batcher.close()


async def test_work_of_a_gone_caller_never_reaches_the_model(
    batcher: Batcher, generator: Gated, capacity: QueueCapacity, tally: Tally
) -> None:
    busy = await running(batcher, generator)
    leaving, staying = ask(batcher, "leaving", "with it"), ask(batcher, "staying")
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert capacity.requests == 1
    generator.gate.set()
    await asyncio.gather(busy, staying)
    assert generator.batches == [["running"], ["staying"]]
    assert tally.losses == [("gone", 2)]


async def test_a_prompt_over_the_limit_is_refused_by_its_field(batcher: Batcher, capacity: QueueCapacity) -> None:
    batcher.start()
    with pytest.raises(InputTooLarge) as refused:
        await batcher.submit([Work(write=lambda: Query("x" * 101), tokens=1, field="3.state")])
    assert refused.value.field == "3.state"
    assert (capacity.requests, capacity.tokens) == (0, 0)


async def test_an_engine_fault_reaches_only_the_callers_of_its_batch(batcher: Batcher, generator: Gated) -> None:
    generator.gate.set()
    batcher.start()
    with pytest.raises(ValueError, match="a fault of the engine"):
        await ask(batcher, "bad")
    assert text(await ask(batcher, "good")) == ["good 0"]


async def test_a_failing_prompt_does_not_fail_others_in_its_batch(
    batcher: Batcher, generator: Gated, capacity: QueueCapacity
) -> None:
    busy = await running(batcher, generator)
    first, bad, second = ask(batcher, "one"), ask(batcher, "bad"), ask(batcher, "two")
    await tokenised(capacity, 9)
    generator.gate.set()
    assert text([*await busy, *await first, *await second]) == ["running 0", "one 0", "two 0"]
    with pytest.raises(ValueError, match="a fault of the engine"):
        await bad
    assert generator.batches[1:] == [["one", "bad", "two"], ["one"], ["bad"], ["two"]]


async def test_a_lost_engine_is_not_asked_again_for_each_request(capacity: QueueCapacity) -> None:
    class Gone(Gated):
        def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
            super().generate(prompts, n=n)
            raise ServiceUnavailable("Nobody answers.")

    generator = Gone()
    batcher = make(generator, capacity, Observer())
    busy = await running(batcher, generator)
    waiting = [ask(batcher, "one"), ask(batcher, "two")]
    await tokenised(capacity, 6)
    generator.gate.set()
    for request in (busy, *waiting):
        with pytest.raises(ServiceUnavailable):
            await request
    assert generator.batches[1:] == [["one", "two"]]
    batcher.close()


async def test_dropped_answers_and_failing_observers_stop_nothing(
    capacity: QueueCapacity,
) -> None:
    class Forgetful(ScriptedGenerator):
        def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
            generations = super().generate(prompts, n=n)
            return [answer for answer in generations if answer.candidates[0].text != "forgotten"]

    class Failing(Observer):
        def ran(self, answers: Sequence[Answer], padded_tokens: int) -> None:
            raise RuntimeError("a fault of the metrics")

    forgetful = Forgetful(lambda prompt: [(prompt, -1.0)])
    limits: dict[str, Any] = {"max_batch": 9, "max_batch_tokens": 99, "max_input_tokens": 99}
    batcher = Batcher(forgetful, capacity, observer=Failing(), **limits)
    batcher.start()
    with pytest.raises(ValueError, match="zip"):
        await ask(batcher, "forgotten")
    assert text(await ask(batcher, "one")) == ["one"]
    assert text(await ask(batcher, "two")) == ["two"]
    batcher.close()


async def test_closing_fails_waiting_requests_and_answers_running_ones(
    batcher: Batcher, generator: Gated, capacity: QueueCapacity
) -> None:
    busy = await running(batcher, generator)
    waiting = ask(batcher, "waiting")
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(ServiceUnavailable):
        await waiting
    generator.gate.set()
    await closing
    assert text(await busy) == ["running 0"]
    assert generator.closed
    assert capacity.requests == 0
    with pytest.raises(ServiceUnavailable):
        await ask(batcher, "late")
