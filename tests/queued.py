"""Evaluations in a job store that are played without a worker."""

from __future__ import annotations

from pathlib import Path

from services.env_runner.queue import JobStore
from tests.samples import evaluation, result
from waymark.contracts import EpisodeResult, EvaluationRequest
from waymark.evaluation.protocols import episodes
from waymark.evaluation.run_folder import RunFolder

TASKS = ("1-1", "4-1", "4-2")


def submit(store: JobStore, name: str) -> None:
    """Submit an evaluation of one variation of each of TASKS."""
    request = EvaluationRequest(tasks=TASKS)
    specs = episodes(name, request)
    store.submit(evaluation(name, request, episodes=len(specs)), specs)


def play(store: JobStore, count: int) -> list[EpisodeResult]:
    """Play so many episodes of whichever evaluations take their turns."""
    played = []
    for _ in range(count):
        lease = store.lease("worker", wait_seconds=0.01)
        assert lease is not None
        spec = lease.spec
        one = result(spec.id, evaluation=spec.evaluation, task=spec.task, variation=spec.variation)
        assert store.commit(lease, one)
        played.append(one)
    return played


def on_disk(runs: Path, name: str) -> int:
    """How many episodes a run folder holds."""
    return len(list(RunFolder(runs / name).results()))
