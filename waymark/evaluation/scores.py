"""Summaries of results: means over task types, groups, a confidence interval, and the published columns.

The main score is the mean over task types of each type's mean score, so a type with many variations weighs no more than
one with few. A type's mean is that over its variations, and a variation's that over its repeats. A score is max(0, raw
score), an episode that errored counts 0, and a cancelled one does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from waymark.contracts import Effort, EpisodeResult, ErrorKind, Summary, TaskScore, Versions
from waymark.evaluation.intervals import Interval, average, mean, over_play, over_variations_and_play
from waymark.worlds.base import TaskType, World
from waymark.worlds.registry import DEFAULT_WORLD, get_world, world_of

PLAYED_ONCE: Final = (
    "Each variation was played once, so the interval cannot separate the randomness of play from differences between "
    "variations. To separate them, play each variation several times, for example with --repeats 3."
)


def _randomness(world: World, repeats: int) -> tuple[str, ...]:
    """A sentence about the randomness of play; empty if a world has none."""
    if not world.randomness:
        return ()
    return (world.randomness, *([PLAYED_ONCE] if repeats == 1 else []))


def summarise(results: Iterable[EpisodeResult], world: World | None = None) -> Summary:
    """Add up results of a world (default: ScienceWorld); trajectories are not needed. Without any, all means are 0."""
    world = world or get_world(DEFAULT_WORLD)
    counted = [result for result in results if result.stopped != "cancelled"]
    by_task = {task: [result for result in counted if result.task == task.id] for task in world.tasks}
    tasks = tuple(_task_score(task, played) for task, played in by_task.items() if played)
    scores = [_scores(played, "score") for played in by_task.values() if played]
    repeats = sorted({result.repeat for result in counted})
    return Summary(
        episodes=len(counted),
        mean=average(task.mean for task in tasks),
        ci95=over_variations_and_play(scores),
        ci95_play=over_play(scores),
        repeats=max((len(plays) for variations in scores for plays in variations), default=1),
        repeat_means=_repeat_means(counted, repeats) if len(repeats) > 1 else (),
        randomness=_randomness(world, len(repeats)) if counted else (),
        raw_mean=average(task.raw_mean for task in tasks),
        last_nonnegative_mean=average(task.last_nonnegative_mean for task in tasks),
        success_rate=average(task.success_rate for task in tasks),
        groups={
            group: average(task.mean for task in tasks if task.group == group)
            for group in world.groups
            if any(task.group == group for task in tasks)
        },
        tasks=tasks,
        effort=_effort(counted),
        rules=_rules(counted),
        errors=_errors(counted),
    )


def world_played(versions: Versions | None) -> World:
    """The world that a run was played in (default: ScienceWorld)."""
    return get_world(DEFAULT_WORLD) if versions is None else world_of(versions.environment)


def _task_score(task: TaskType, played: Sequence[EpisodeResult]) -> TaskScore:
    scores = _scores(played, "score")
    return TaskScore(
        id=task.id,
        name=task.name,
        group=task.group,
        episodes=len(played),
        mean=mean([scores]),
        raw_mean=mean([_scores(played, "raw_score")]),
        last_nonnegative_mean=mean([_scores(played, "last_nonnegative_score")]),
        success_rate=mean([_scores(played, "success")]),
        ci95=over_variations_and_play([scores]),
        ci95_play=over_play([scores]),
    )


def _scores(played: Sequence[EpisodeResult], figure: str) -> list[list[float]]:
    """A figure of one task type's episodes, by variation; 0 for an episode that errored."""
    by_variation: dict[int, list[float]] = {}
    for result in sorted(played, key=lambda result: (result.variation, result.repeat)):
        value = 0.0 if result.error else float(getattr(result, figure))
        by_variation.setdefault(result.variation, []).append(value)
    return list(by_variation.values())


def _repeat_means(counted: Sequence[EpisodeResult], repeats: Sequence[int]) -> tuple[float, ...]:
    """The main score of each repeat alone."""
    means = []
    for repeat in repeats:
        by_task: dict[str, list[EpisodeResult]] = {}
        for result in counted:
            if result.repeat == repeat:
                by_task.setdefault(result.task, []).append(result)
        means.append(mean([_scores(played, "score") for played in by_task.values()]))
    return tuple(means)


def interval(scores: Sequence[Sequence[float]]) -> Interval | None:
    """95% interval of the mean over task types, given the scores of each type, of variations that were played once."""
    return over_variations_and_play([[[score] for score in of_variation] for of_variation in scores])


def name_of_episode(result: EpisodeResult) -> str:
    """`task/variation`, and which repeat if it is not the first."""
    return f"{result.task}/{result.variation}" + (f" repeat {result.repeat}" if result.repeat else "")


def _effort(results: Sequence[EpisodeResult]) -> Effort:
    return Effort(**{name: average(getattr(result, name) for result in results) for name in Effort.model_fields})


def _rules(results: Sequence[EpisodeResult]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for result in results:
        counts.update({use.rule: use.turns for use in result.rules})
    return dict(counts.most_common())


def _errors(results: Sequence[EpisodeResult]) -> tuple[ErrorKind, ...]:
    """Errors by kind, the most frequent first."""
    by_kind: dict[str, list[EpisodeResult]] = {}
    for result in results:
        if result.error is not None:
            by_kind.setdefault(result.error.kind, []).append(result)
    return tuple(
        ErrorKind(
            kind=kind,
            message=errored[0].error.message if errored[0].error else "",
            episodes=tuple(map(name_of_episode, errored)),
        )
        for kind, errored in sorted(by_kind.items(), key=lambda entry: -len(entry[1]))
    )
