"""Record the states that load tests ask with, from play with the shipped checkpoints.

    python -m benchmarks.record_sample [--slots N] [--keep FOLDER]     plays the episodes: some minutes on two cores
    python -m benchmarks.record_sample --runs FOLDER                   takes them from the folder that --keep named

Plays the first dev variation of each of the 30 task types; test variations stay unseen. Of each episode it keeps at
most three states at which the controller was asked and five at which the executor was asked, drawn with a fixed seed,
each with the turns that a worker sent. It writes `waymark/loadtest/sample.jsonl.gz`, and `sample.json` beside it, which
says what was played with which checkpoints.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from waymark.agent.replay import moments
from waymark.cli.local_stack import Stack, StackOptions
from waymark.clients.services import EvaluationClient
from waymark.contracts import EpisodeResult, EvaluationRequest, Versions
from waymark.errors import WaymarkError
from waymark.evaluation.run_folder import EPISODES, RunFolder
from waymark.loadtest import sample_states
from waymark.loadtest.sample_states import RecordedState, SampleOrigin
from waymark.operating_system.cpu_cores import simulators_at_once
from waymark.worlds.registry import DEFAULT_WORLD, get_world

KEPT = {"controller": 3, "executor": 5}
"""States of one episode, by the service that was asked."""
_WORLD = get_world(DEFAULT_WORLD)
_SPLIT = _WORLD.protocols["dev"]
_SEED = 0


def history_turns(versions: Versions) -> int:
    """The turns that a worker sent: the longest history that a checkpoint of either service reads."""
    models = (versions.controller, versions.first, versions.executor)
    return max(model.history_turns for model in models if model is not None)


def choose(result: EpisodeResult, turns: int) -> list[RecordedState]:
    """The states of one episode that are kept, in the order of play."""
    recorded = [
        RecordedState(task=result.task, asked=moment.asked, state=moment.state) for moment in moments(result, turns)
    ]
    chance = random.Random(f"{_SEED} {result.task} {result.variation}")
    kept: set[int] = set()
    for role, most in KEPT.items():
        places = [place for place, candidate in enumerate(recorded) if candidate.asked == role]
        kept.update(chance.sample(places, min(most, len(places))))
    return [recorded[place] for place in sorted(kept)]


def write(results: Sequence[EpisodeResult], folder: Path) -> SampleOrigin:
    """Write the sample and where it comes from."""
    order = {task.id: place for place, task in enumerate(_WORLD.tasks)}
    results = sorted(results, key=lambda result: order[result.task])
    versions = results[0].versions
    assert versions is not None
    turns = history_turns(versions)
    kept = [state for result in results for state in choose(result, turns)]
    text = "".join(state.model_dump_json(exclude_defaults=True) + "\n" for state in kept)
    (folder / sample_states.SAMPLE).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    origin = SampleOrigin(
        command="python -m benchmarks.record_sample",
        history_turns=turns,
        states=len(kept),
        episodes=tuple(f"{result.task}/{result.variation}" for result in results),
        versions=versions,
    )
    (folder / sample_states.ORIGIN).write_text(json.dumps(origin.model_dump(mode="json"), indent=1) + "\n")
    return origin


async def _play(url: str) -> None:
    """Play one dev variation of each task; the env-runner writes the run folders."""
    async with EvaluationClient(url) as client:
        submitted = [
            await client.submit(EvaluationRequest(protocol="dev", tasks=(task.id,), variations=(_variation(task.id),)))
            for task in _WORLD.tasks
        ]
        for status in track(submitted, "Playing", console=Console(stderr=True)):
            async for _ in client.events(status.id):
                pass


def _variation(task_id: str) -> int:
    return _SPLIT.variations_of(_WORLD.find_task(task_id))[0]


def _results(runs: Path) -> Iterable[EpisodeResult]:
    for header in sorted(runs.glob(f"*/{EPISODES}")):
        yield from RunFolder(header.parent).results()


def main(
    runs: Annotated[
        Path | None, typer.Option(help="Folder of run folders with the episodes. Default: play them.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder to keep the run folders in. Default: they are deleted.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Episodes played at once. Default: 3 for every 2 cores.")] = None,
    target: Annotated[Path, typer.Option(help="Folder to write to. Default: the package.")] = Path(
        sample_states.__file__
    ).parent,
) -> None:
    """Play, choose and write."""
    console = Console(stderr=True)
    folder = runs or keep or Path(tempfile.mkdtemp(prefix="sample-"))
    try:
        if runs is None:
            with Stack(StackOptions(runs=folder, slots=slots or simulators_at_once())) as stack:
                asyncio.run(_play(stack.url("env-runner")))
        results = list(_results(folder))
        missing = {task.id for task in _WORLD.tasks} - {result.task for result in results if not result.error}
        if missing:
            raise SystemExit(f"No episode was finished of {', '.join(sorted(missing))}; nothing was written.")
        origin = write(results, target)
        size = (target / sample_states.SAMPLE).stat().st_size
        console.print(f"{origin.states} states with up to {origin.history_turns} turns, {size:,} bytes.")
    except WaymarkError as error:
        console.print(str(error), style="bold red")
        raise typer.Exit(2) from error
    finally:
        if runs is None and keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
