"""The tracked oracle trajectories with their rule annotations, read once for all tests."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.annotations import Annotation, annotate_by_rule
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
    by_instruction = {
        trajectory.task: trajectory for trajectory in reversed(trajectories()) if trajectory.task_id == task_id
    }
    return sorted(by_instruction.values(), key=lambda path: path.variation)[:count]


def rule_annotations(chosen: Sequence[Trajectory]) -> dict[PathKey, Annotation]:
    """The rule annotator's sub-goals of some trajectories."""
    return {path.key: annotate_by_rule(path) for path in chosen}


def write_paths(paths: Sequence[Trajectory], folder: Path, name: str = "trajectories") -> Path:
    """Write a table of trajectories and its manifest, as `training trajectories` does. Returns the table's path."""
    table = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist([asdict(path) for path in paths]), table)
    manifest = {"sha256": hashlib.sha256(table.read_bytes()).hexdigest(), "settings": {}, "failed": []}
    table.with_suffix(".manifest.json").write_text(json.dumps(manifest))
    return table
