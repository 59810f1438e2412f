"""Compares agents on the same variations: scores, effort of an episode, and differences with intervals.

Only variations that every run has finished count (an errored episode has finished, with 0; a cancelled one has not), so
the runs differ in the agent and not in the variations. Differences are taken against the first run.

The difference of two agents a and b, over task types T with variations V_t, each with plays R:

    d(t, v, r) = score_a(t, v, r) - score_b(t, v, r)
    D          = mean over t in T of ( mean over v in V_t of ( mean over r in R of d(t, v, r) ) )

Its 95% interval is a paired bootstrap, `waymark.evaluation.intervals` with d in place of scores: the variations of each
type that has at least three are drawn anew, with replacement, as pairs, then their plays; a type with fewer keeps its
variations. Where fewer than nine in ten types have three variations there is no interval. The difficulty of a
variation, which both agents share, cancels out. The randomness of play does not; if variations were played several
times, a second interval shows it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from waymark.agent.named_agents import name_of
from waymark.contracts import AgentConfig, Contract, Effort, EpisodeResult, EvaluationRequest, Summary, Versions
from waymark.errors import InvalidInput
from waymark.evaluation.intervals import mean, over_play, over_variations_and_play
from waymark.evaluation.scores import summarise
from waymark.worlds.base import World
from waymark.worlds.registry import DEFAULT_WORLD, get_world

_Key = tuple[str, int, int]
"""Task id, variation and repeat."""


@dataclass(frozen=True, slots=True)
class Run:
    """An evaluation and its results; their turns are not needed."""

    id: str
    request: EvaluationRequest
    versions: Versions | None
    results: Sequence[EpisodeResult]


class AgentScore(Contract):
    """One run on the shared variations; means are over task types, in points of 100."""

    name: str
    """The agent's, with the run's id where several have the same."""
    run: str
    agent: AgentConfig
    mean: float
    ci95: tuple[float, float] | None
    raw_mean: float
    last_nonnegative_mean: float
    success_rate: float
    """0 to 1."""
    tasks: dict[str, float]
    """Mean by task id."""
    effort: Effort
    errors: dict[str, int]
    """Errored episodes by kind of error."""


class Difference(Contract):
    """The difference of two agents' mean scores, in points of 100."""

    agent: str
    baseline: str
    mean: float
    ci95: tuple[float, float] | None
    """None where variations are too few to resample."""
    ci95_play: tuple[float, float] | None = None
    """The same for these variations, played anew. None where they were played once."""
    better: int
    """Variations on which the agent scores higher."""
    equal: int
    worse: int


class Comparison(Contract):
    """Agents on the same variations; the others are compared with the first."""

    world: str = DEFAULT_WORLD
    """The world in which all of them play."""
    task_types: int
    variations: int
    """All types together."""
    repeats: int = 1
    """The most plays of a variation that all runs share."""
    agents: tuple[AgentScore, ...]
    differences: tuple[Difference, ...]
    """One for each agent but the first."""
    notes: tuple[str, ...]
    """Other differences between the runs, and variations or plays that they do not share."""


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs on the variations that all of them have. Raises InvalidInput for fewer than two, or for none."""
    if len(runs) < 2:
        raise InvalidInput("One run alone cannot be compared.", remedy="Name two or more.", field="runs")
    played = [{_key(result): result for result in run.results if result.stopped != "cancelled"} for run in runs]
    shared = set.intersection(*map(set, played))
    if not shared:
        raise InvalidInput(
            f"These {len(runs)} runs share no variation.",
            remedy="Play the same tasks and variations: `evaluate` takes several agents in one command.",
            field="runs",
        )
    worlds = {run.versions.environment.partition(" ")[0] for run in runs if run.versions}
    if len(worlds) > 1:
        raise InvalidInput(
            f"These runs are of several worlds: {', '.join(sorted(worlds))}.",
            remedy="Compare runs of one world.",
            field="runs",
        )
    world = get_world(min(worlds, default=DEFAULT_WORLD))
    names = _names(runs)
    common = [[results_of_run[key] for key in sorted(shared)] for results_of_run in played]
    summaries = [summarise(results, world) for results in common]
    return Comparison(
        world=world.name,
        task_types=len({task for task, _, _ in shared}),
        variations=len({(task, variation) for task, variation, _ in shared}),
        repeats=max(summary.repeats for summary in summaries),
        agents=tuple(map(_agent, names, runs, summaries)),
        differences=tuple(
            _difference(world, names[0], common[0], *other) for other in zip(names[1:], common[1:], strict=True)
        ),
        notes=tuple(_notes(runs, names, played, shared)),
    )


def _agent(name: str, run: Run, summary: Summary) -> AgentScore:
    return AgentScore(
        name=name,
        run=run.id,
        agent=run.request.agent,
        mean=summary.mean,
        ci95=summary.ci95,
        raw_mean=summary.raw_mean,
        last_nonnegative_mean=summary.last_nonnegative_mean,
        success_rate=summary.success_rate,
        tasks={task.id: task.mean for task in summary.tasks},
        effort=summary.effort,
        errors={error.kind: len(error.episodes) for error in summary.errors},
    )


def _difference(
    world: World, baseline: str, theirs: Sequence[EpisodeResult], name: str, ours: Sequence[EpisodeResult]
) -> Difference:
    by_task: dict[str, dict[int, list[float]]] = {}
    for our, their in zip(ours, theirs, strict=True):
        by_variation = by_task.setdefault(our.task, {})
        by_variation.setdefault(our.variation, []).append(our.score - their.score)
    differences = [list(by_task[task.id].values()) for task in world.tasks if task.id in by_task]
    all_differences = [mean([[plays]]) for of_task in differences for plays in of_task]
    return Difference(
        agent=name,
        baseline=baseline,
        mean=mean(differences),
        ci95=over_variations_and_play(differences),
        ci95_play=over_play(differences),
        better=sum(difference > 0 for difference in all_differences),
        equal=sum(difference == 0 for difference in all_differences),
        worse=sum(difference < 0 for difference in all_differences),
    )


def _names(runs: Sequence[Run]) -> list[str]:
    names = [name_of(run.request.agent) for run in runs]
    often = Counter(names)
    return [f"{name} ({run.id})" if often[name] > 1 else name for name, run in zip(names, runs, strict=True)]


def _notes(
    runs: Sequence[Run], names: Sequence[str], played: Sequence[dict[_Key, EpisodeResult]], shared: set[_Key]
) -> list[str]:
    notes = []
    variations = {key[:2] for key in shared}
    for name, results_of_run in zip(names, played, strict=True):
        more = len({key[:2] for key in results_of_run} - variations)
        again = sum(key[:2] in variations and key not in shared for key in results_of_run)
        if more:
            notes.append(f"{name} has {more} more variations, which do not count.")
        if again:
            notes.append(f"{name} has {again} more plays of the shared variations, which do not count.")
    known = [(run.request.agent.subgoals, run.versions) for run in runs if run.versions]
    differing = {
        "protocols": {str(run.request.protocol) for run in runs},
        "limits": {str(run.request.limits) for run in runs},
        "options": {run.request.options or run.request.simplifications or "" for run in runs},
        "environments": {versions.environment for _, versions in known},
        "versions of waymark": {
            str((versions.waymark, versions.commit, bool(versions.modified))) for _, versions in known
        },
        "executors": {versions.executor.sha256 for subgoals, versions in known if subgoals != "none"},
        "controllers": {versions.controller.sha256 for _, versions in known if versions.controller},
        "first sub-goals' controllers": {versions.first.sha256 for _, versions in known if versions.first},
        "engines": {versions.executor.runtime for _, versions in known},
    }
    different = [name for name, values in differing.items() if len(values) > 1]
    return [*notes, f"Not only the agents differ: {', '.join(different)}."] if different else notes


def _key(result: EpisodeResult) -> _Key:
    return result.task, result.variation, result.repeat
