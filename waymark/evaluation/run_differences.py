"""The differences of runs by task and by episode, shown below the table of a comparison.

The difference of a task type is that of `waymark.evaluation.comparison` for this type alone, with the same paired
bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence

from waymark.contracts import Contract, EpisodeResult
from waymark.evaluation.comparison import Comparison, Run, compare
from waymark.evaluation.intervals import mean, over_variations_and_play

MOST_CHANGED = 50
"""Number of episodes with the largest changes that are listed."""


class TaskDifference(Contract):
    """One task type: the agent's mean score minus the first run's, in points of 100."""

    task: str
    run: str
    """The run that is compared with the first one."""
    episodes: int
    """Number of episodes that both played."""
    baseline_mean: float
    mean: float
    difference: float
    ci95: tuple[float, float] | None
    """Paired interval; None with fewer than three variations."""


class ChangedEpisode(Contract):
    """One episode that both runs played, and their scores."""

    task: str
    variation: int
    repeat: int
    run: str
    baseline_episode: str
    """The id of the first run's episode."""
    episode: str
    baseline_score: int
    score: int


class RunComparison(Contract):
    """Answer of `GET /v1/comparison`."""

    runs: tuple[str, ...]
    """In the order of the request; the others are compared with the first."""
    comparison: Comparison
    tasks: tuple[TaskDifference, ...]
    changed: tuple[ChangedEpisode, ...]
    """The largest change first, at most 50 for each run; unchanged episodes are left out."""


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Compare runs on the episodes that all of them have. Raises InvalidInput for fewer than two, or for none."""
    comparison = compare(runs)
    played = [
        {
            (result.task, result.variation, result.repeat): result
            for result in run.results
            if result.stopped != "cancelled"
        }
        for run in runs
    ]
    shared = sorted(set.intersection(*map(set, played)))
    tasks: list[TaskDifference] = []
    changed: list[ChangedEpisode] = []
    for run, theirs in zip(runs[1:], played[1:], strict=True):
        pairs = [(played[0][key], theirs[key]) for key in shared]
        tasks += _by_task(run.id, pairs, list(comparison.agents[0].tasks))
        changed += _most_changed(run.id, pairs)
    return RunComparison(
        runs=tuple(run.id for run in runs), comparison=comparison, tasks=tuple(tasks), changed=tuple(changed)
    )


_Pairs = Sequence[tuple[EpisodeResult, EpisodeResult]]


def _by_task(run: str, pairs: _Pairs, order: Sequence[str]) -> list[TaskDifference]:
    tasks = []
    for task in order:
        of_task = [pair for pair in pairs if pair[0].task == task]
        by_variation: dict[int, list[tuple[float, float]]] = {}
        for before, after in of_task:
            by_variation.setdefault(before.variation, []).append((_score(before), _score(after)))
        befores = [[[before for before, _ in plays] for plays in by_variation.values()]]
        afters = [[[after for _, after in plays] for plays in by_variation.values()]]
        differences = [[[after - before for before, after in plays] for plays in by_variation.values()]]
        tasks.append(
            TaskDifference(
                task=task,
                run=run,
                episodes=len(of_task),
                baseline_mean=mean(befores),
                mean=mean(afters),
                difference=mean(differences),
                ci95=over_variations_and_play(differences),
            )
        )
    return tasks


def _most_changed(run: str, pairs: _Pairs) -> list[ChangedEpisode]:
    apart = [pair for pair in pairs if _score(pair[0]) != _score(pair[1])]
    apart.sort(key=lambda pair: -abs(_score(pair[1]) - _score(pair[0])))
    return [
        ChangedEpisode(
            task=before.task,
            variation=before.variation,
            repeat=before.repeat,
            run=run,
            baseline_episode=before.id,
            episode=after.id,
            baseline_score=before.score,
            score=after.score,
        )
        for before, after in apart[:MOST_CHANGED]
    ]


def _score(result: EpisodeResult) -> float:
    return 0.0 if result.error else float(result.score)
