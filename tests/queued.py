"""Evaluations in a job store that are played without a worker."""

from __future__ import annotations

from pathlib import Path

import anyio

from services.env_runner.queue import JobStore
from tests.samples import VERSIONS, evaluation, result_of
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest, TurnRecord
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import RunFolder

TASKS = ("1-1", "4-1", "4-2")
TURN = TurnRecord(
    turn=1, subgoal="wait(1)", controller_called=True, action="wait1", proposed="wait1", logprob=-0.1, observation="…"
)
"""The one turn of every episode that is played here."""


def submit(store: JobStore, name: str) -> None:
    """Submit an evaluation of one variation of each of TASKS."""
    request = EvaluationRequest(tasks=TASKS)
    specs = episodes(name, request)
    store.submit(evaluation(name, request, episodes=len(specs)), specs)


def play_one(store: JobStore, *, error: EpisodeError | None = None) -> EpisodeResult:
    """Lease the next episode and commit a result with one turn, as a worker does."""
    lease = store.lease("worker", wait_seconds=0.01)
    assert lease is not None
    light = result_of(lease.spec, score=0 if error else 50, error=error)
    played = light.model_copy(update={"agent": lease.spec.agent, "versions": VERSIONS, "trajectory": (TURN,)})
    assert store.commit(lease, played)
    return played


def play(store: JobStore, count: int) -> list[EpisodeResult]:
    """Play so many episodes of whichever evaluations take their turns."""
    return [play_one(store) for _ in range(count)]


def on_disk(runs: Path, name: str) -> int:
    """How many episodes a run folder holds."""
    return len(list(RunFolder(runs / name).results()))


async def until_on_disk(folder: Path, results: list[EpisodeResult]) -> None:
    """Return once exactly these are in the run folder, in this order."""
    with anyio.fail_after(10):
        while list(RunFolder(folder).results()) != results:  # noqa: ASYNC110 - the file is what a user waits for
            await anyio.sleep(0.05)
