"""The batcher shares a model: heavy work is done in steps, light work goes between, who leaves stops paying."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from waymark.errors import InputTooLarge, QueueFull
from waymark.inference import Encoded, Generation, Prompt, Steps
from waymark.inference.batching import Answer, Batcher, CostModel, Query, QueueCapacity, Work
from waymark.inference.batching.fairness import Flow, Shares
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.inference.scoring_steps import in_chunks

pytestmark = pytest.mark.anyio
HEAVY = tuple(f"choice {number}" for number in range(40))


class Stepped(ScriptedGenerator):
    """Scores one candidate at a step; each step and each batch waits for a permit. A token is a character."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: [(f"{prompt} 0", -1.0), ("choice 7", -0.5)])
        self.permits = threading.Semaphore(0)
        self.log: list[str] = []

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        return [Encoded(text=prompt, ids=list(range(len(prompt))), truncated=0) for prompt in prompts]

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        self.permits.acquire()
        self.log += [prompt if isinstance(prompt, str) else prompt.text for prompt in prompts]
        return super().generate(prompts, n=n)

    def score(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> list[Generation]:
        self.permits.acquire()
        self.log.append("step")
        return super().score(prompts, candidates, n=n)

    def score_in_steps(
        self, prompts: Sequence[Prompt], candidates: Sequence[Sequence[str]], *, n: int | None = None
    ) -> Steps:
        return in_chunks(self.score, prompts, candidates, n, 1)


@pytest.fixture
def generator() -> Iterator[Stepped]:
    stepped = Stepped()
    yield stepped
    stepped.permits.release(10_000)


def make(generator: Stepped, capacity: QueueCapacity | None = None, **limits: Any) -> Batcher:
    few = {"max_batch": 4, "max_batch_tokens": 100, "max_input_tokens": 1_000, "max_wait": 0.0}
    batcher = Batcher(generator, capacity or QueueCapacity(100, 10_000), **(few | limits))
    batcher.start()
    return batcher


def ask(batcher: Batcher, *queries: Query, caller: str = "") -> asyncio.Task[list[Answer]]:
    return asyncio.create_task(batcher.submit([Work.of(query) for query in queries], caller=caller))


def scored(prompt: str) -> Query:
    return Query(prompt, candidates=tuple(f"{prompt} {number}" for number in range(3)))


async def until(generator: Stepped, count: int) -> None:
    while len(generator.log) < count:  # noqa: ASYNC110 - it happens in another thread
        await asyncio.sleep(0.001)


async def test_light_work_goes_between_the_steps_of_heavy_work(generator: Stepped) -> None:
    batcher = make(generator)
    heavy = ask(batcher, Query("heavy", n=1, candidates=HEAVY))
    generator.permits.release(2)
    await until(generator, 2)
    light = ask(batcher, Query("light"))
    await asyncio.sleep(0.05)
    generator.permits.release(6)
    assert (await light)[0].generation.candidates[0].text == "light 0"
    assert not heavy.done()
    generator.permits.release(100)
    assert (await heavy)[0].generation.candidates[0].text == "choice 7"
    assert generator.log.count("step") == len(HEAVY)
    await asyncio.to_thread(batcher.close)


async def test_a_caller_that_leaves_is_charged_for_one_more_step(generator: Stepped) -> None:
    batcher = make(generator)
    heavy = ask(batcher, Query("heavy", candidates=HEAVY))
    generator.permits.release(3)
    await until(generator, 3)
    heavy.cancel()
    await asyncio.gather(heavy, return_exceptions=True)
    generator.permits.release(100)
    light = await ask(batcher, Query("light"))
    assert light[0].generation.candidates[0].text == "light 0"
    assert generator.log.count("step") <= 4
    await asyncio.to_thread(batcher.close)


async def test_a_caller_with_many_requests_lets_others_in(generator: Stepped) -> None:
    batcher = make(generator, max_batch=1)
    busy = [ask(batcher, Query(f"a{number}"), caller="a") for number in range(10)]
    generator.permits.release(1)
    await until(generator, 1)
    other = ask(batcher, Query("b"), caller="b")
    await asyncio.sleep(0.05)
    generator.permits.release(3)
    await other
    assert generator.log.index("b") <= 3
    generator.permits.release(100)
    await asyncio.gather(*busy)
    await asyncio.to_thread(batcher.close)


async def test_scoring_is_answered_if_a_shorter_request_joins_the_next_batch(generator: Stepped) -> None:
    batcher = make(generator)
    first = ask(batcher, scored("aaaa"), caller="a")
    await asyncio.sleep(0.05)  # its first step is in the model
    second, other = ask(batcher, scored("a"), caller="a"), ask(batcher, scored("bbbb"), caller="b")
    await asyncio.sleep(0.05)
    generator.permits.release(100)
    async with asyncio.timeout(30):
        answers = [(await task)[0] for task in (first, second, other)]
    assert [answer.query.prompt for answer in answers] == ["aaaa", "a", "bbbb"]
    batcher.close()


async def test_no_scoring_is_lost_among_callers_that_leave(generator: Stepped) -> None:
    generator.permits.release(100_000)
    capacity = QueueCapacity(1_000, 100_000)
    batcher = make(generator, capacity, max_batch_tokens=1_000)
    chance = random.Random(0)

    async def caller(number: int) -> None:
        for turn in range(40):
            name = f"{number}:{turn}:" + "x" * chance.randrange(9)
            task = ask(batcher, scored(name) if chance.random() < 0.5 else Query(name), caller=str(number))
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.002)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            else:
                assert (await task)[0].query.prompt == name

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(8)))
    assert (capacity.requests, capacity.tokens) == (0, 0)
    batcher.close()


def test_a_caller_with_work_in_the_model_keeps_its_share() -> None:
    shares = Shares()
    first, second = Flow("a"), Flow("b")
    assert shares.next([first, second]) == first
    shares.charge(first, 10.0)
    shares.charge(second, 11.0)
    assert shares.next([second], busy=[first]) == second  # all that a has is in the model
    shares.charge(first, 5.0)
    assert shares.next([first, second]) == second


async def test_too_expensive_requests_are_refused_before_they_wait(generator: Stepped) -> None:
    costs = CostModel(answer_tokens=50, rereads_prompt=True)
    batcher = make(generator, costs=costs, max_cost=400)
    with pytest.raises(InputTooLarge, match="over the limit of 400"):
        await ask(batcher, Query("x" * 100, n=16))
    with pytest.raises(InputTooLarge):
        await ask(batcher, *[Query("x" * 40, n=2)] * 4)
    with pytest.raises(InputTooLarge):
        await ask(batcher, Query("x" * 40, candidates=HEAVY))
    await asyncio.to_thread(batcher.close)


async def test_expensive_requests_are_refused_once_they_are_tokenised(generator: Stepped) -> None:
    batcher = make(generator, costs=CostModel(answer_tokens=10), max_cost=300)
    with pytest.raises(InputTooLarge):
        await ask(batcher, Query("x" * 299))
    with pytest.raises(InputTooLarge):
        await ask(batcher, Query("x", candidates=("1" * 200, "2" * 200)))
    generator.permits.release(1)
    assert await ask(batcher, Query("x" * 20))
    await asyncio.to_thread(batcher.close)


async def test_an_endless_prompt_is_refused_without_being_tokenised(generator: Stepped) -> None:
    batcher = make(generator)
    with pytest.raises(InputTooLarge, match="characters"):
        await ask(batcher, Query("x" * 10_000))
    await asyncio.to_thread(batcher.close)


def test_heavy_work_leaves_half_of_the_queue_to_light_work() -> None:
    capacity = QueueCapacity(100, 1_000)
    capacity.enter(1, 450, Flow("a", heavy=True))
    with pytest.raises(QueueFull):
        capacity.enter(1, 100, Flow("b", heavy=True))
    capacity.enter(1, 500, Flow("b"))


def test_a_caller_cannot_fill_the_whole_queue() -> None:
    capacity = QueueCapacity(80, 10_000)
    capacity.enter(80, 800, Flow("a"))
    with pytest.raises(QueueFull):
        capacity.check("a")
    capacity.check("b")
    capacity.enter(10, 100, Flow("b"))
    with pytest.raises(QueueFull):
        capacity.check("b")
