"""The tracked oracle trajectories with their rule annotations, read once for all tests."""

from functools import cache
from pathlib import Path

from training.annotate import Annotation, annotate_by_rule
from training.trajectories import PathKey, Trajectory, read_table

TABLE = Path(__file__).parents[1] / "data" / "trajectories.parquet"


@cache
def trajectories() -> list[Trajectory]:
    """Every tracked trajectory."""
    return read_table(TABLE)


@cache
def one_of_each_task() -> list[Trajectory]:
    """The first trajectory of each task type."""
    return list({trajectory.task_id: trajectory for trajectory in reversed(trajectories())}.values())


def of_different_tasks(task_id: str, count: int) -> list[Trajectory]:
    """The first trajectories of a task type whose instructions differ."""
    every = {trajectory.task: trajectory for trajectory in reversed(trajectories()) if trajectory.task_id == task_id}
    return sorted(every.values(), key=lambda one: one.variation)[:count]


def rule_annotations(chosen: list[Trajectory]) -> dict[PathKey, Annotation]:
    """The rule annotator's sub-goals of some trajectories."""
    return {one.key: annotate_by_rule(one) for one in chosen}
