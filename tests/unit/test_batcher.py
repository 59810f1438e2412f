"""The batcher: what shares a batch, what is refused, what is dropped, what is answered at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from waymark.errors import DeadlineExceeded, QueueFull, ServiceUnavailable
from waymark.generation import Generation
from waymark.generation.batcher import Answer, Batcher, Work
from waymark.generation.scripted import ScriptedGenerator

pytestmark = pytest.mark.anyio


class Gated(ScriptedGenerator):
    """Answers a prompt with itself, once the gate is open; remembers its batches."""

    def __init__(self) -> None:
        super().__init__(lambda prompt: [(f"{prompt} {rank}", -1.0 - rank) for rank in range(4)])
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []
        self.closed = False

    def generate(self, prompts: Sequence[str], *, n: int = 1) -> list[Generation]:
        self.batches.append(list(prompts))
        self.entered.set()
        self.gate.wait()
        if "bad" in prompts:
            raise ValueError("a fault of the engine")
        return super().generate(prompts, n=n)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def generator() -> Iterator[Gated]:
    made = Gated()
    yield made
    made.gate.set()


def ask(batcher: Batcher, *prompts: str, n: int = 1, within: float | None = None) -> asyncio.Task[list[Answer]]:
    return asyncio.create_task(batcher.submit([Work(prompt, n=n) for prompt in prompts], within=within))


async def queued(batcher: Batcher, generator: Gated, *tasks: asyncio.Task[list[Answer]]) -> None:
    """Start the batcher with all tasks waiting, and go on when the first batch is in the model."""
    await asyncio.sleep(0)
    batcher.start()
    await asyncio.to_thread(generator.entered.wait)


async def test_what_waits_together_runs_together_shortest_first(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=3, max_queue=9)
    generator.gate.set()
    one, two = ask(batcher, "ccc", "a"), ask(batcher, "bb", "dddd")
    await queued(batcher, generator, one, two)
    assert [answer.generation.candidates[0].text for answer in [*await one, *await two]] == [
        "ccc 0",
        "a 0",
        "bb 0",
        "dddd 0",
    ]
    assert generator.batches == [["a", "bb", "ccc"], ["dddd"]]
    batcher.close()


async def test_only_requests_for_as_many_answers_share_a_batch(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=9, max_queue=9)
    generator.gate.set()
    tasks = [ask(batcher, "a", n=1), ask(batcher, "b", n=2), ask(batcher, "c", n=1)]
    await queued(batcher, generator, *tasks)
    assert [len((await task)[0].generation.candidates) for task in tasks] == [1, 2, 1]
    assert generator.batches == [["a", "c"], ["b"]]
    batcher.close()


async def test_a_full_queue_refuses_and_keeps_what_it_has(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=1, max_queue=2)
    running = ask(batcher, "running")
    await queued(batcher, generator, running)
    waiting = ask(batcher, "one", "two")
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await ask(batcher, "three")
    generator.gate.set()
    assert len(await waiting) == 2
    batcher.close()


async def test_work_past_its_deadline_never_reaches_the_model_and_frees_its_place(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=1, max_queue=1)
    running = ask(batcher, "running")
    await queued(batcher, generator, running)
    with pytest.raises(DeadlineExceeded):
        await ask(batcher, "late", within=0.01)
    patient = ask(batcher, "patient")
    await asyncio.sleep(0)
    generator.gate.set()
    await patient
    assert generator.batches == [["running"], ["patient"]]
    batcher.close()


async def test_a_fault_of_the_engine_reaches_its_callers_and_spares_the_next(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=1, max_queue=9)
    generator.gate.set()
    bad, good = ask(batcher, "bad"), ask(batcher, "good")
    await queued(batcher, generator, bad, good)
    with pytest.raises(ValueError, match="a fault of the engine"):
        await bad
    assert (await good)[0].generation.candidates[0].text == "good 0"
    batcher.close()


async def test_closing_answers_what_waits_and_admits_nothing_more(generator: Gated) -> None:
    batcher = Batcher(generator, max_batch=1, max_queue=9)
    running, waiting = ask(batcher, "running"), ask(batcher, "waiting")
    await queued(batcher, generator, running, waiting)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    generator.gate.set()
    await closing
    assert generator.closed
    assert (await waiting)[0].generation.candidates[0].text == "waiting 0"
    with pytest.raises(ServiceUnavailable):
        await ask(batcher, "late")
