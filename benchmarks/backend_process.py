"""One backend of a benchmark of engines, in a process of its own so that its memory is its own.

    python -m benchmarks.backend_process PLAN      PLAN is a `Plan` as JSON

Loads the checkpoint, says on stdout that it is ready, or why not, and then answers every line of stdin (a `Job`) with
a line (a `Timing`). Nothing is imported but what the backend needs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel

from benchmarks.completion import Completion
from waymark.agent.prompt import write_prompt
from waymark.contracts import AgentState, Role
from waymark.errors import UnparsableAction, WaymarkError
from waymark.inference import Generator, checkpoint
from waymark.inference.open_engine import open_generator
from waymark.loadtest.sample_states import sample
from waymark.operating_system.process_tree import children
from waymark.worlds.base import PromptFormat
from waymark.worlds.registry import get_format

Way = Literal["published", "greedy", "ctranslate2", "transformers", "vllm"]
"""`published` and `greedy`: transformers, one prompt at a time, with a beam of five and without; others are engines."""


class Plan(BaseModel):
    """What a backend is."""

    way: Way
    checkpoint: Path
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 0
    pinned: bool = False
    """Answers of random weights have the checkpoint's `max_new_tokens`."""
    prefix_caching: bool = True
    """Of vLLM; without, it reads whole a prompt that it has met before."""


class Job(BaseModel):
    """States to answer, over and over until the time is up, at least once each."""

    decide: bool
    """From the state to an action; else from the prompt to a text."""
    first: int
    """Of the recorded states, in an order that is the same for all backends."""
    count: int
    at_once: int
    """How many wait for their answers together."""
    seconds: float


class Timing(BaseModel):
    """What became of a job."""

    requests: int
    seconds: float
    read: int
    """Prompt tokens."""
    written: int
    """Answer tokens, end tokens included."""
    memory_mb: float
    """The most that the process and those that it started have had resident."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Ready(BaseModel):
    """What a backend is once loaded, or why it is not."""

    name: str = ""
    problem: str | None = None


class BackendProcess:
    """A backend's process, as its benchmark holds it."""

    def __init__(self, plan: Plan, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.backend_process", plan.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    @cached_property
    def ready(self) -> Ready:
        """What it is; waits until it has loaded. Those that are made together load together."""
        return Ready.model_validate_json(self._line())

    def run(self, job: Job) -> Timing:
        """Have a job done; blocks."""
        assert self._process.stdin is not None
        self._process.stdin.write(job.model_dump_json() + "\n")
        self._process.stdin.flush()
        return Timing.model_validate_json(self._line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A backend of the benchmark ended:\n{self._log.read_text(errors='replace')[-2_000:]}")
        return line


def recorded_states() -> list[AgentState]:
    """The recorded states at which an executor was asked, shuffled."""
    recorded = [example.state for example in sample() if example.asked == "executor"]
    random.Random(0).shuffle(recorded)
    return recorded


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model and how it is asked."""

    name: str
    role: Role
    format: PromptFormat
    answers: Callable[[Sequence[str]], list[Completion]]
    """To prompts that wait together."""
    close: Callable[[], None] = lambda: None

    def decide(self, waiting: Sequence[AgentState]) -> list[Completion]:
        """The whole way from states to decisions. What cannot be read stands for itself."""
        completions = self.answers([write_prompt(self.format, self.role, state) for state in waiting])
        for completion in completions:
            with suppress(UnparsableAction):
                self.format.parse(self.role, completion.text)
        return completions


def open_backend(plan: Plan) -> Backend:
    """Load what the plan says. Raises WaymarkError."""
    loaded = checkpoint.load(plan.checkpoint)
    prompt_format = get_format(loaded.card.prompt_format)
    if plan.way in ("published", "greedy"):
        from benchmarks.published import BEAMS, PublishedModel

        beams = BEAMS if plan.way == "published" else 1
        model = PublishedModel(
            plan.checkpoint, beams=beams, device=plan.device, dtype=plan.dtype, threads=plan.threads, pinned=plan.pinned
        )
        name = f"one at a time, {f'beam {beams}' if beams > 1 else 'greedy'}, {plan.dtype}"
        return Backend(
            name, loaded.card.role, prompt_format, lambda prompts: [model.answer(prompt) for prompt in prompts]
        )
    generator = _open_engine(plan, loaded)

    def answers(prompts: Sequence[str]) -> list[Completion]:
        return [
            Completion(generation.candidates[0].text, generation.prompt_tokens, generation.candidates[0].tokens)
            for generation in generator.generate(prompts)
        ]

    return Backend(f"{generator.engine} {generator.dtype}", loaded.card.role, prompt_format, answers, generator.close)


def _open_engine(plan: Plan, loaded: checkpoint.Checkpoint) -> Generator:
    if plan.way == "vllm":
        from waymark.inference.engines.vllm import VllmGenerator

        return VllmGenerator(
            loaded, device=plan.device, dtype=plan.dtype, threads=plan.threads, prefix_caching=plan.prefix_caching
        )
    return open_generator(plan.way, loaded, device=plan.device, dtype=plan.dtype, threads=plan.threads)


def do(job: Job, backend: Backend, states: Sequence[AgentState], prompts: Sequence[str]) -> Timing:
    """A job's answers, timed; `prompts` are those of the states."""
    places = [place % len(states) for place in range(job.first, job.first + job.count)]
    requests = read = written = 0
    began = time.perf_counter()
    while not requests or time.perf_counter() - began < job.seconds:
        for start in range(0, job.count, job.at_once):
            waiting = places[start : start + job.at_once]
            completions = (
                backend.decide([states[place] for place in waiting])
                if job.decide
                else backend.answers([prompts[place] for place in waiting])
            )
            requests += len(completions)
            read += sum(completion.read for completion in completions)
            written += sum(completion.written for completion in completions)
    seconds = time.perf_counter() - began
    return Timing(
        requests=requests, seconds=seconds, read=read, written=written, memory_mb=_most_memory_mb(os.getpid())
    )


def _most_memory_mb(pid: int) -> float:
    """The peak of a process and those that it started, each its own; what `getrusage` says includes the parent's
    before `exec`. Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return own + sum(map(_most_memory_mb, children(pid)))


def main() -> None:
    """Load, then do one job after the other until there are none."""
    plan = Plan.model_validate_json(sys.argv[1])
    try:
        backend = open_backend(plan)
    except WaymarkError as error:
        sys.stdout.write(Ready(problem=str(error)).model_dump_json() + "\n")
        return
    states = recorded_states()
    prompts = [write_prompt(backend.format, backend.role, state) for state in states]
    backend.decide(states[:1])  # the first answer is slow
    sys.stdout.write(Ready(name=backend.name).model_dump_json() + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(do(Job.model_validate_json(line), backend, states, prompts).model_dump_json() + "\n")
        sys.stdout.flush()
    backend.close()


if __name__ == "__main__":
    main()
