"""How much padding a batch computes, and how long requests wait, by the number of requests that it is chosen among.

    python -m benchmarks.padding [--waiting 96] [--batches 3000]

A simulation with the batcher's own choice (`batch_choice`), the engine's own limit for the parts that it cuts a batch
into (two workers), and the prompt lengths of the recorded sample, drawn at random. Nothing is computed by the model.
The queue always holds the same number of requests. A wait of 0 means: taken with the next batch.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.machine import figures
from waymark.agent.prompt import write_prompt
from waymark.inference import Encoded, checkpoint
from waymark.inference.batching import Query, Work
from waymark.inference.batching.batch_choice import choose_batch
from waymark.inference.batching.fairness import Flow
from waymark.inference.batching.tickets import Group, Ticket
from waymark.inference.engines.ctranslate2 import Seq2SeqGenerator
from waymark.loadtest.sample_states import sample
from waymark.serving.settings import ServiceSettings
from waymark.worlds.registry import get_format

_FOLDER = Path("checkpoints/executor")
_WORKERS = 2
_FLOW = Flow("")
_CHOICES = (1.0, 1.5, 2.0)


def open_executor() -> Seq2SeqGenerator:
    """The shipped executor, with two workers."""
    return Seq2SeqGenerator(checkpoint.load(_FOLDER, "executor"), threads=_WORKERS)


def sample_lengths(generator: Seq2SeqGenerator) -> list[int]:
    """Lengths in tokens of the sample's prompts for the executor."""
    prompt_format = get_format(checkpoint.load(_FOLDER, "executor").card.prompt_format)
    prompts = [write_prompt(prompt_format, "executor", state.state) for state in sample() if state.asked == "executor"]
    return [len(encoded.ids) for encoded in generator.encode(prompts)]


def padded_tokens(lengths: Sequence[int], most: int) -> int:
    """Input tokens, padding included, that the engine computes for a batch of prompts of these lengths, if each of its
    parts has at most `most`.
    """
    longest_first = sorted(lengths, reverse=True)
    tokens, longest, rows = 0, longest_first[0], 0
    for length in longest_first:
        if rows and longest * (rows + 1) > most:
            tokens, longest, rows = tokens + longest * rows, length, 0
        rows += 1
    return tokens + longest * rows


def simulate(
    lengths: Sequence[int],
    cut_tokens: Callable[[Sequence[int]], int],
    *,
    waiting: int,
    batches: int,
    choice: float,
    settings: ServiceSettings,
) -> tuple[float, list[int]]:
    """Padded tokens divided by the requests' own, and for how many batches each request waited, in ascending order."""
    chance = random.Random(0)
    loop = asyncio.new_event_loop()

    def arrival() -> Ticket:
        query = Query("")
        return Ticket(
            work=Work.of(query),
            future=loop.create_future(),
            expires=0.0,
            cost=0,
            flow=_FLOW,
            group=Group(0),
            query=query,
            encoded=Encoded(text="", ids=[0] * chance.choice(lengths), truncated=0),
        )

    queue = {arrival(): 0 for _ in range(waiting)}
    """When each came: the number of batches before it."""
    padded = own = 0
    waits: list[int] = []
    for number in range(batches):
        batch = choose_batch(
            list(queue), _FLOW, max_batch=settings.max_batch, max_tokens=settings.max_batch_tokens, choice=choice
        ).batch
        of_batch = [ticket.length for ticket in batch]
        padded += padded_tokens(of_batch, cut_tokens(of_batch))
        own += sum(of_batch)
        waits += [number - queue.pop(ticket) for ticket in batch]
        queue |= {arrival(): number + 1 for _ in batch}
    loop.close()
    return padded / own, sorted(waits)


def main(
    waiting: Annotated[int, typer.Option(help="Requests that wait at any time.")] = 96,
    batches: Annotated[int, typer.Option(help="Batches to simulate.")] = 3_000,
) -> None:
    """Simulate each choice, and print its padding and its waits."""
    generator = open_executor()
    lengths = sample_lengths(generator)
    table = figures("chosen among", "padded / own", "wait p50", "p99", "slowest", "ratio")
    first = 0.0
    for choice in _CHOICES:
        share, waits = simulate(
            lengths,
            generator.cut_tokens,
            waiting=waiting,
            batches=batches,
            choice=choice,
            settings=ServiceSettings(),
        )
        first = first or share
        at = [waits[int(len(waits) * part)] for part in (0.5, 0.99)]
        table.add_row(
            f"{choice:g} batches", f"{share:.3f}", str(at[0]), str(at[1]), str(waits[-1]), f"{share / first:.3f}"
        )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
