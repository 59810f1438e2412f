"""The simulator's own paths, as published: played as given, `look around` and `close door …` dropped afterwards.

A dropped action was played. So what it changed is in the scene before the next action, and a score gained there shows
in the next step. An ambiguous request keeps its question, and the number that answers it is a step of its own. A path
ends when it reaches 100. No action is left out for being idle, and none is renamed
(`training.worlds.scienceworld.paths` does both).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from training.trajectories import RecordedStep, Trajectory, Wanted
from training.worlds.base import PUBLISHED_SEED
from waymark.worlds.base import SOLVED
from waymark.worlds.scienceworld.tasks import TASKS, Split, TaskType, find_task

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

DROPPED = ("look around", "close door")
PUBLISHED_LIMITS = {"3-3": 100, "9-1": 50, "9-2": 50, "9-3": 50, "10-1": 50, "10-2": 50}
"""Task id to how many shuffled variations, of all splits together, were published; other tasks are whole."""
_TEST_STOP = 10
"""A task stops at this test variation, so one fewer is played."""


def published_variations(task: TaskType, seed: int = PUBLISHED_SEED) -> list[int]:
    """The variations of a task, of all splits, that the published data hold, in their order."""
    chosen = list(range(task.variations))
    if task.id in PUBLISHED_LIMITS:
        random.Random(seed).shuffle(chosen)
        chosen = chosen[: PUBLISHED_LIMITS[task.id]]
    return list(_until_test_stop(task, chosen))


def _until_test_stop(task: TaskType, variations: Sequence[int]) -> Iterator[int]:
    tested = 0
    for variation in variations:
        tested += task.split_of(variation) == "test"
        if tested == _TEST_STOP:
            return
        yield variation


def plan(
    splits: Sequence[Split], limit: int | None, simplifications: str, tasks: Sequence[TaskType] = TASKS
) -> list[Wanted]:
    """The published variations of these splits, at most `limit` of a task and split; every task's first before any
    second, so that a stopped run is balanced."""
    ranked: list[tuple[int, Wanted]] = []
    for task in tasks:
        sampled = published_variations(task)
        for split in splits:
            of_split = [variation for variation in sampled if task.split_of(variation) == split]
            ranked += enumerate(Wanted(task.id, variation, simplifications) for variation in of_split[:limit])
    return [wanted for _, wanted in sorted(ranked, key=lambda pair: pair[0])]


def record_gold(slot: ScienceWorldSlot, wanted: Wanted) -> list[Trajectory]:
    """The simulator's own path of one variation. 0.3 to 5 s; of tasks 10-1 and 10-2 half a minute."""
    gold = slot.gold_path(wanted.task_id, wanted.variation, wanted.simplifications)
    opening = slot.reset(wanted.task_id, wanted.variation, wanted.simplifications)
    met: set[str] = set()
    steps: list[RecordedStep] = []
    for action in gold:
        step = slot.step_as_given(action)
        now = set(slot.completed_goals()) - {""}
        goals, met = sorted(now - met), met | now
        if not action.startswith(DROPPED):
            steps.append(
                RecordedStep(action, step.observation, step.look, step.inventory, step.score, step.moves, goals)
            )
        elif steps:
            steps[-1] = replace(steps[-1], look=step.look, inventory=step.inventory)
        else:
            opening = opening.model_copy(update={"look": step.look, "inventory": step.inventory})
        if step.completed or step.score >= SOLVED or step.score < 0:
            break
    task = find_task(wanted.task_id)
    trajectory = Trajectory(
        task_id=task.id,
        variation=wanted.variation,
        split=task.split_of(wanted.variation),
        simplifications=wanted.simplifications,
        form="gold",
        gold_actions=len(gold),
        task=opening.task,
        look=opening.look,
        inventory=opening.inventory,
        steps=steps,
    )
    return [trajectory]
