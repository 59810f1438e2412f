"""Where randomness in play comes from: the engine, the simulator, or both; and where two runs first differ.

    python -m benchmarks.randomness engine              each prompt of the sample alone, again, and in batches of 16
    python -m benchmarks.randomness simulator           the same actions in fresh Java processes, and in another order
    python -m benchmarks.randomness runs FOLDER FOLDER  two plays of the same episodes, turn by turn

`engine` counts answers and log-probabilities that differ. `simulator` plays recorded dev paths, one per task type.
`runs` takes folders of run folders, e.g. those of `python -m benchmarks.record_sample --keep FOLDER --slots 1`. It says
what each episode differed in first: what the environment showed, or what a model decided on equal input.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from waymark.agent.prompt import write_prompt
from waymark.cli.local_stack import CHECKPOINTS
from waymark.contracts import EpisodeResult, Role
from waymark.evaluation.run_folder import EPISODES, RunFolder
from waymark.inference import Generation, checkpoint
from waymark.inference.open_engine import open_generator
from waymark.loadtest.sample_states import sample
from waymark.worlds.base import EnvironmentLimits
from waymark.worlds.registry import DEFAULT_WORLD, get_format, get_world

if TYPE_CHECKING:
    from training.trajectories import Trajectory

TOGETHER = 16
_ROLES: tuple[Role, ...] = ("executor", "controller")
_ALTERNATIVES = (1, 5)

app = typer.Typer(help=__doc__, no_args_is_help=True, rich_markup_mode=None)
_out = Console(highlight=False)


@app.command()
def engine() -> None:
    """Ask for each prompt alone, twice, and in shuffled batches."""
    table = Table("role", "dtype", "n", "prompts", "asked", "other answer", "other log-probability", "at most")
    for role in _ROLES:
        loaded = checkpoint.load(CHECKPOINTS / role, role)
        prompt_format = get_format(loaded.card.prompt_format)
        prompts = [write_prompt(prompt_format, role, decision.state) for decision in sample() if decision.asked == role]
        for dtype in ("auto", "float32"):
            generator = open_generator("ctranslate2", loaded, dtype=dtype, threads=1)
            for n in _ALTERNATIVES:
                alone = [generator.generate([prompt], n=n)[0] for prompt in prompts]
                again = [generator.generate([prompt], n=n)[0] for prompt in prompts]
                order = random.Random(0).sample(range(len(prompts)), len(prompts))
                batched: dict[int, Generation] = {}
                for first in range(0, len(order), TOGETHER):
                    places = order[first : first + TOGETHER]
                    answers = generator.generate([prompts[place] for place in places], n=n)
                    batched.update(zip(places, answers, strict=True))
                together = [batched[place] for place in range(len(prompts))]
                for name, others in (("alone again", again), (f"{TOGETHER} together", together)):
                    figures = _differences(alone, others)
                    table.add_row(role, generator.dtype, str(n), str(len(prompts)), name, *figures)
    _out.print(describe("ctranslate2").line(), table, sep="\n")


def _differences(first: Sequence[Generation], others: Sequence[Generation]) -> tuple[str, str, str]:
    """Prompts whose best answer differs, whose log-probabilities differ, and the largest such difference."""
    answers = logprobs = 0
    most = 0.0
    for answer, other in zip(first, others, strict=True):
        answers += answer.candidates[0].text != other.candidates[0].text
        pairs = zip(answer.candidates, other.candidates, strict=True)
        apart = [abs(a.logprob - b.logprob) for a, b in pairs if a.text == b.text]
        logprobs += any(apart)
        most = max(most, *apart)
    return str(answers), str(logprobs), f"{most:.1e}"


@app.command()
def simulator() -> None:
    """Take the same actions in fresh Java processes; no model."""
    from training.trajectories import read_table

    paths: dict[str, Trajectory] = {}
    for path in read_table(Path("data/trajectories.parquet")):
        if path.split == "dev" and path.take == 0 and not any(step.detour for step in path.steps):
            paths.setdefault(path.task_id, path)
    chosen = list(paths.values())
    first, again, backwards = _played(chosen), _played(chosen), _played(chosen[::-1])
    for name, other in (("the same order, another process", again), ("backwards", backwards)):
        differing = [task for task in first if first[task] != other[task]]
        _out.print(f"{name}: {len(differing)} of {len(first)} paths show something else: {', '.join(differing)}")


def _played(paths: Sequence[Trajectory]) -> dict[str, list[object]]:
    """What one Java process shows along each path."""
    slot = get_world(DEFAULT_WORLD).open(EnvironmentLimits())
    shown: dict[str, list[object]] = {}
    for path in paths:
        opening = slot.reset(path.task_id, path.variation, path.simplifications)
        shown[path.task_id] = [opening, *(slot.step(step.action) for step in path.steps)]
    slot.close()
    return shown


@app.command()
def runs(
    first: Annotated[Path, typer.Argument(help="Run folder of one play, or a folder of run folders.")],
    second: Annotated[Path, typer.Argument(help="The same of another play of the same episodes.")],
) -> None:
    """Say what made two plays of the same episodes differ."""
    first_results, second_results = dict(_episodes(first)), dict(_episodes(second))
    causes: Counter[str] = Counter()
    equal = likely = scores = 0
    for key in sorted(first_results.keys() & second_results.keys()):
        cause, decisions, logprobs = compare(first_results[key], second_results[key])
        causes[cause] += 1
        equal += decisions
        likely += logprobs
        scores += first_results[key].score != second_results[key].score
    _out.print(f"{causes.total()} episodes; scores differ in {scores}. First difference: {dict(causes)}.")
    _out.print(f"{equal} decisions on equal input, {likely} of them with another log-probability.")


def compare(first: EpisodeResult, second: EpisodeResult) -> tuple[str, int, int]:
    """What differs first, the decisions on equal input until then, and those with another log-probability."""
    if first.opening != second.opening:
        return "opening", 0, 0
    equal = logprobs = 0
    for ours, theirs in zip(first.trajectory, second.trajectory, strict=False):
        if (ours.subgoal, ours.proposed, ours.action) != (theirs.subgoal, theirs.proposed, theirs.action):
            return "decision", equal, logprobs
        equal += 1
        logprobs += ours.logprob != theirs.logprob
        if (ours.observation, ours.look, ours.inventory) != (theirs.observation, theirs.look, theirs.inventory):
            return "environment", equal, logprobs
    return "nothing", equal, logprobs


def _episodes(folder: Path) -> Iterator[tuple[tuple[str, int, int], EpisodeResult]]:
    for lines in sorted(folder.rglob(EPISODES)):
        for result in RunFolder(lines.parent).results():
            yield (result.task, result.variation, result.repeat), result


if __name__ == "__main__":
    app()
