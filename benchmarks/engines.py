"""How fast each engine is: against the published way of asking, and a whole decision against a published one.

    python -m benchmarks.engines [--rounds 5] [--seconds 1] [--threads 0] [--json FILE]
    python -m benchmarks.engines --checkpoint checkpoints/causal/executor  other weights; causal ones run on vLLM too
    python -m benchmarks.engines --device cuda --shape flan-t5-large       random weights in bf16, on a GPU

Every side is a process of its own, so that its memory is, and all answer the same states of real play in turn, so that
a busy machine troubles all of them; ratios are medians over rounds. The published way is transformers in float32, one
prompt at a time with a beam of five; greedy is the same without the beam. Engines answer so many prompts at once.
Prompts come again and again, and vLLM remembers what it has read: in real play it is as fast as with and without cache.

A whole decision goes from a state to a prompt, its tokens, the answer and the parsed action. The published one renders
the `seed` format, read by a sub-word tokenizer with tokens of 3.7 characters. No weights were trained for it here, so
it has random ones of the executor's shape and so of its parameter count, with answers pinned to the mean length of the
actions of these states. Ours is the shipped executor on CTranslate2 int8, 32 states at once.

Targets on 2 cores: CTranslate2 int8 with 32 prompts at once 15 times the published way and 10 times greedy, a whole
decision 30 times, a process of at most 300 MB; on a GPU with `flan-t5-large` an engine 30 times the published way.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress

from benchmarks.backend_process import BackendProcess, Job, Plan, Timing, recorded_states
from benchmarks.machine import Machine, describe, figures
from waymark.cli.local_stack import CHECKPOINTS

EXECUTOR = CHECKPOINTS / "executor"
AT_ONCE = (1, 8, 32, 128)
TARGET_AT = 32
ROUND = 32
"""States of a round, but where more wait at once."""
PUBLISHED, GREEDY, FAST = "published", "greedy", "ctranslate2 int8"
PUBLISHED_DECISION, DECISION = "published decision", "decision"
ENGINE_TARGET, GREEDY_TARGET, DECISION_TARGET, GPU_TARGET = 15.0, 10.0, 30.0, 30.0
MEMORY_TARGET_MB = 300.0
_LIBRARIES = ("ctranslate2", "torch", "transformers", "tokenizers", "vllm")


class Row(BaseModel):
    """One side with so many waiting at once; figures a second are of all rounds together."""

    side: str
    what: str
    """As the side calls itself."""
    at_once: int
    requests: float
    read: float
    """Prompt tokens."""
    written: float
    """Answer tokens, end tokens included."""
    published_ratio: float
    """Times the published way's requests a second, median of the rounds."""
    greedy_ratio: float | None
    """Times those of greedy search one at a time; None for whole decisions."""
    memory_mb: float
    """The most that its processes have had resident."""


class Verdict(BaseModel):
    """What was reached, and the target where there is one."""

    what: str
    value: float
    target: float | None = None
    at_most: bool = False

    def line(self) -> str:
        """In one line."""
        target = "" if self.target is None else f" (target {'<=' if self.at_most else '>='} {self.target:g})"
        return f"ratio {self.value:.1f} {self.what}{target}"


class Report(BaseModel):
    """What was measured."""

    machine: Machine
    threads: int
    rounds: int
    shape: str
    """`shipped` where the weights are trained ones."""
    rows: list[Row]
    skipped: dict[str, str]
    """Why, by side."""
    verdicts: list[Verdict]


@dataclass
class _Measured:
    """A side under measurement: timings by how many waited at once, one a round."""

    side: BackendProcess
    timings: dict[int, list[Timing]] = field(default_factory=dict)

    def run(self, decide: bool, first: int, at_once: int, seconds: float) -> None:
        job = Job(decide=decide, first=first, count=max(ROUND, at_once), at_once=at_once, seconds=seconds)
        self.timings.setdefault(at_once, []).append(self.side.run(job))


def plans(folder: Path, shape: str, device: str, threads: int, scratch: Path) -> dict[str, Plan]:
    """The sides by name. Makes the random weights that some of them need."""
    from benchmarks.random_weights import SHAPES, make_checkpoint, shape_of

    if shape != "shipped":
        random_checkpoint = scratch / "random"
        make_checkpoint(random_checkpoint, SHAPES[shape], recorded_states(), "bfloat16")
        half = Plan(
            way="published", checkpoint=random_checkpoint, device=device, dtype="bfloat16", threads=threads, pinned=True
        )
        ways: dict[str, Literal["published", "greedy", "transformers", "ctranslate2"]] = {
            PUBLISHED: "published",
            GREEDY: "greedy",
            "transformers bfloat16": "transformers",
            "ctranslate2 bfloat16": "ctranslate2",
        }
        return {name: half.model_copy(update={"way": way}) for name, way in ways.items()}
    plan = Plan(way="published", checkpoint=folder, device=device, threads=threads)
    engines = {
        PUBLISHED: plan,
        GREEDY: plan.model_copy(update={"way": "greedy"}),
        "transformers float32": plan.model_copy(update={"way": "transformers"}),
        "ctranslate2 float32": plan.model_copy(update={"way": "ctranslate2"}),
        FAST: plan.model_copy(update={"way": "ctranslate2", "dtype": "int8"}),
        "vllm float32": plan.model_copy(update={"way": "vllm"}),
    }
    if folder.resolve() != EXECUTOR.resolve():
        return engines | {"vllm without cache": plan.model_copy(update={"way": "vllm", "prefix_caching": False})}
    random_checkpoint = scratch / "seed"
    make_checkpoint(random_checkpoint, shape_of(EXECUTOR), recorded_states(), None)
    return engines | {
        PUBLISHED_DECISION: plan.model_copy(update={"checkpoint": random_checkpoint, "pinned": True}),
        DECISION: plan.model_copy(update={"way": "ctranslate2", "dtype": "int8"}),
    }


def measure(sides: dict[str, BackendProcess], rounds: int, seconds: float, progress: Progress) -> dict[str, _Measured]:
    """All sides in turn, round by round."""
    measured = {name: _Measured(side) for name, side in sides.items()}
    task = progress.add_task("measuring", total=rounds * len(measured))
    for number in range(rounds):
        for name, backend in measured.items():
            first = number * ROUND
            if name in (PUBLISHED, GREEDY):
                backend.run(False, first, 1, 0)
            elif name == PUBLISHED_DECISION:
                backend.run(True, first, 1, 0)
            elif name == DECISION:
                backend.run(True, first, TARGET_AT, seconds)
            else:
                for waiting in AT_ONCE:
                    backend.run(False, first, waiting, seconds)
            progress.advance(task)
    return measured


def rows(measured: dict[str, _Measured]) -> list[Row]:
    """What came of it, side by side with the published way of the same round."""
    report_rows = []
    for name, backend in measured.items():
        decides = name in (PUBLISHED_DECISION, DECISION)
        published = measured[PUBLISHED_DECISION if decides else PUBLISHED].timings[1]
        for at_once, timings in backend.timings.items():
            seconds = sum(timing.seconds for timing in timings)
            report_rows.append(
                Row(
                    side=name,
                    what=backend.side.ready.name,
                    at_once=at_once,
                    requests=sum(timing.requests for timing in timings) / seconds,
                    read=sum(timing.read for timing in timings) / seconds,
                    written=sum(timing.written for timing in timings) / seconds,
                    published_ratio=_ratio(timings, published),
                    greedy_ratio=None if decides else _ratio(timings, measured[GREEDY].timings[1]),
                    memory_mb=timings[-1].memory_mb,
                )
            )
    return report_rows


def verdicts(rows: Sequence[Row], on_gpu_shape: bool) -> list[Verdict]:
    """What was reached of the targets; other weights than the shipped ones have none."""
    at_target = {row.side: row for row in rows if row.at_once == TARGET_AT}
    if on_gpu_shape:
        best = max((row for row in rows if row.side not in (PUBLISHED, GREEDY)), key=lambda row: row.published_ratio)
        title = f"{best.side}, {best.at_once} at once, to the published way"
        return [Verdict(what=title, value=best.published_ratio, target=GPU_TARGET)]
    if DECISION not in at_target:
        return [
            Verdict(what=f"{side}, {TARGET_AT} at once, to the published way", value=row.published_ratio)
            for side, row in at_target.items()
        ]
    fast = at_target[FAST]
    assert fast.greedy_ratio is not None
    return [
        Verdict(
            what=f"{FAST}, {TARGET_AT} at once, to the published way", value=fast.published_ratio, target=ENGINE_TARGET
        ),
        Verdict(what="the same to greedy, one at a time", value=fast.greedy_ratio, target=GREEDY_TARGET),
        Verdict(
            what=f"a whole decision, {TARGET_AT} at once, to a published one",
            value=at_target[DECISION].published_ratio,
            target=DECISION_TARGET,
        ),
        Verdict(what=f"memory of {FAST}, MB", value=fast.memory_mb, target=MEMORY_TARGET_MB, at_most=True),
    ]


def show(report: Report, console: Console) -> None:
    """Print the tables and what was reached."""
    columns = (
        "at\nonce",
        "requests\na second",
        "tokens\nread",
        "tokens\nwritten",
        "× pub-\nlished",
        "×\ngreedy",
        "peak\nMB",
    )
    table = figures("", *columns)
    for row in report.rows:
        table.add_row(
            row.side,
            str(row.at_once),
            f"{row.requests:,.1f}",
            f"{row.read:,.0f}",
            f"{row.written:,.0f}",
            f"{row.published_ratio:.1f}",
            "" if row.greedy_ratio is None else f"{row.greedy_ratio:.1f}",
            f"{row.memory_mb:,.0f}",
        )
    console.print(table)
    for side, reason in report.skipped.items():
        console.print(f"{side} was skipped: {reason}", soft_wrap=True)
    console.print(report.machine.line(), soft_wrap=True)
    for verdict in report.verdicts:
        console.print(verdict.line(), soft_wrap=True)


def _ratio(ours: Sequence[Timing], theirs: Sequence[Timing]) -> float:
    return statistics.median(our.rate / other.rate for our, other in zip(ours, theirs, strict=True))


def main(
    rounds: Annotated[int, typer.Option(help="Number of measurements of every engine.", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="Least seconds of each measurement.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads of each engine; 0: all cores.")] = 0,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device of all engines.")] = "cpu",
    shape: Annotated[
        Literal["shipped", "flan-t5-large", "tiny"],
        typer.Option(help="`shipped`: the shipped weights; others: random weights of that shape, in bf16."),
    ] = "shipped",
    checkpoint: Annotated[
        Path, typer.Option(help="Checkpoint for all engines in place of the shipped executor.", show_default=False)
    ] = EXECUTOR,
    json: Annotated[Path | None, typer.Option(help="File for the report, in JSON.")] = None,
) -> None:
    """Measure all sides and print them, then the ratios."""
    console = Console(highlight=False)
    machine = describe(*_LIBRARIES)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running, Progress(console=console) as progress:
        sides = {
            name: running.enter_context(BackendProcess(plan, Path(scratch) / f"{name}.log"))
            for name, plan in plans(checkpoint, shape, device, threads, Path(scratch)).items()
        }
        skipped = {name: side.ready.problem for name, side in sides.items() if side.ready.problem is not None}
        measured = measure(
            {name: side for name, side in sides.items() if name not in skipped}, rounds, seconds, progress
        )
        measured_rows = rows(measured)
    report = Report(
        machine=machine,
        threads=threads,
        rounds=rounds,
        shape=shape,
        rows=measured_rows,
        skipped=skipped,
        verdicts=verdicts(measured_rows, shape != "shipped"),
    )
    show(report, console)
    if json is not None:
        json.write_text(report.model_dump_json(indent=2))


if __name__ == "__main__":
    typer.run(main)
