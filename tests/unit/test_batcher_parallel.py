"""An engine that can compute two batches gets the next one early: when it is full, light, and no scoring runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.unit.test_batcher import Gated, Stepped, Tally, ask, make, room, running, text, tokenised
from waymark.errors import QueueFull
from waymark.inference.batching import Query, QueueCapacity

pytestmark = pytest.mark.anyio
PATIENCE = 0.05
"""Seconds in which a batch would have begun."""


class TwoAtOnce(Stepped):
    """Computes two batches at the same time. Each ends at a `step.release()`, the older one first."""

    @property
    def parallel_batches(self) -> int:
        return 2


@pytest.fixture
def generator() -> Iterator[TwoAtOnce]:
    two_at_once = TwoAtOnce()
    two_at_once.gate.set()
    yield two_at_once
    two_at_once.step.release(1_000)


@pytest.fixture
def capacity() -> QueueCapacity:
    return QueueCapacity(max_requests=100, max_tokens=10_000)


@pytest.fixture
def tally() -> Tally:
    return Tally()


async def begun(generator: Gated, batches: int) -> None:
    async with asyncio.timeout(30):
        while len(generator.batches) < batches:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.001)


async def test_a_full_batch_begins_beside_another(generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    waiting = ask(batcher, "aa", "bb", "cc", "dd")
    await begun(generator, 2)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"], ["aa", "bb"]]
    generator.step.release()
    await begun(generator, 3)
    assert await busy
    generator.step.release(2)
    assert text(await waiting) == ["aa 0", "bb 0", "cc 0", "dd 0"]
    batcher.close()


async def test_a_batch_that_can_grow_waits_for_the_model(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    first = ask(batcher, "aa")
    await tokenised(capacity, 2)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    second = ask(batcher, "bb")
    await begun(generator, 2)
    assert generator.batches[1] == ["aa", "bb"]
    generator.step.release(2)
    await asyncio.gather(busy, first, second)
    batcher.close()


async def test_a_batch_full_of_tokens_begins_beside_another(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch_tokens=40)
    busy = await running(batcher, generator)
    names = [8 * letter for letter in "abcdef"]
    waiting = [ask(batcher, name) for name in names[:5]]
    await tokenised(capacity, 40)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    waiting.append(ask(batcher, names[5]))
    await begun(generator, 2)
    assert generator.batches[1] == names[:5]
    generator.step.release(3)
    await asyncio.gather(busy, *waiting)
    batcher.close()


async def test_other_kinds_of_work_do_not_make_a_batch_full(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=4)
    busy = await running(batcher, generator)
    waiting = [ask(batcher, query) for query in (Query("aa"), Query("bb", n=2), Query("cc"), Query("dd", n=2))]
    await tokenised(capacity, 8)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    generator.step.release(9)
    await asyncio.gather(busy, *waiting)
    assert generator.batches[1:] == [["aa", "cc"], ["bb", "dd"]]
    batcher.close()


async def test_scoring_waits_for_a_batch(generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    scoring = ask(batcher, *(Query(name, candidates=(f"{name} 1", f"{name} 0")) for name in ("a", "b", "c")))
    while "c" not in generator.encoded:  # noqa: ASYNC110 - it happens in another thread
        await asyncio.sleep(0.001)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    generator.step.release(9)
    await asyncio.gather(busy, scoring)
    batcher.close()


async def test_a_full_batch_waits_for_scoring(generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    batcher.start()
    scoring = ask(batcher, Query("a", candidates=("a 1", "a 0")))
    await begun(generator, 1)
    waiting = ask(batcher, "bb", "cc")
    await tokenised(capacity, 4)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["a"]]
    generator.step.release(9)
    await asyncio.gather(scoring, waiting)
    batcher.close()


async def test_heavy_work_and_light_work_do_not_run_together(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2, max_batch_tokens=40)
    busy = await running(batcher, generator)
    heavy = ask(batcher, "h" * 30, "i" * 30)
    await tokenised(capacity, 60)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    generator.step.release()
    await busy
    await begun(generator, 2)
    light = ask(batcher, "aa", "bb")
    await tokenised(capacity, 34)
    await asyncio.sleep(PATIENCE)
    assert generator.batches[1:] == [["h" * 30]]
    generator.step.release(9)
    await asyncio.gather(heavy, light)
    batcher.close()


async def test_an_overloaded_queue_gives_the_model_one_batch_at_a_time(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    first = ask(batcher, "aa")
    await tokenised(capacity, 2)
    with pytest.raises(QueueFull):
        capacity.enter(1_000, 1_000)
    second = ask(batcher, "bb")
    await tokenised(capacity, 4)
    await asyncio.sleep(PATIENCE)
    assert generator.batches == [["running"]]
    generator.step.release(9)
    await asyncio.gather(busy, first, second)
    batcher.close()


async def test_a_failing_batch_leaves_the_one_beside_it_alone(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    bad, good = ask(batcher, "bad"), ask(batcher, "good")
    await begun(generator, 2)
    generator.step.release(9)
    assert text(await busy) == ["running 0"]
    assert text(await good) == ["good 0"]
    with pytest.raises(ValueError, match="a fault of the engine"):
        await bad
    batcher.close()


async def test_the_wait_for_the_batch_before_is_no_time_in_the_model(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    waiting = ask(batcher, "aa", "bb")
    await begun(generator, 2)
    await asyncio.sleep(10 * PATIENCE)
    generator.step.release()
    (first,) = await busy
    generator.step.release()
    second, _ = await waiting
    assert second.model_ms < first.model_ms
    assert second.queue_ms > 10 * PATIENCE * 1000
    batcher.close()


async def test_closing_answers_both_batches_in_the_model(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    batcher = make(generator, capacity, tally, max_batch=2)
    busy = await running(batcher, generator)
    waiting = ask(batcher, "aa", "bb")
    await begun(generator, 2)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    await asyncio.sleep(PATIENCE)
    assert not generator.closed
    generator.step.release(2)
    assert text([*await busy, *await waiting]) == ["running 0", "aa 0", "bb 0"]
    await closing
    assert generator.closed


async def test_many_callers_of_two_batches_get_their_own_answers(
    generator: TwoAtOnce, capacity: QueueCapacity, tally: Tally
) -> None:
    generator.step.release(10_000)
    batcher = make(generator, capacity, tally, max_batch=4, max_batch_tokens=40)
    batcher.start()

    async def caller(number: int) -> None:
        for turn in range(50):
            name = f"{number}:{turn}" + "x" * (turn % 5)
            query = Query(name, candidates=(f"{name} 1", f"{name} 0")) if turn % 10 == 9 else Query(name)
            assert text(await ask(batcher, query)) == [f"{name} 0"]

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(30)))
    assert sorted(map(str, {prompt for batch in generator.batches for prompt in batch})) == sorted(
        f"{number}:{turn}" + "x" * (turn % 5) for number in range(30) for turn in range(50)
    )
    assert (capacity.requests, capacity.tokens) == (0, 0)
    batcher.close()


def test_room_waits_for_all_batches_in_the_model() -> None:
    now = 100.0
    capacity = QueueCapacity(max_requests=100, max_tokens=100_000, max_seconds=0.5, clock=lambda: now)

    capacity.served(1_000, seconds=1.0)
    capacity.begins("executor", 300)
    now += 0.125
    capacity.begins("executor", 225)
    assert room(capacity, 10) == 11
    now += 0.125
    assert room(capacity, 10) == 23
    capacity.ends("executor", 300)
    assert room(capacity, 10) == 21
