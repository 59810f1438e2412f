"""Annotated trajectories: oracle paths split into sub-goals.

The schema is the same whoever annotates: task id, variation, and segments that cover the path without gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.trajectories import PathKey, Trajectory
from waymark.subgoals import COMPLETE, PathStep, Segment, annotate
from waymark.tasks import find_task


@dataclass(frozen=True)
class Annotation:
    """The sub-goals of one trajectory; the last segment is `complete_task()` and empty."""

    task_id: str
    variation: int
    annotator: str
    segments: list[Segment]
    take: int = 0
    """Of the trajectory."""

    @property
    def key(self) -> PathKey:
        """The trajectory's."""
        return self.task_id, self.variation, self.take


def annotate_by_rule(trajectory: Trajectory) -> Annotation:
    """The rule annotator's answer for one trajectory."""
    steps = [PathStep(step.action, step.observation, step.detour) for step in trajectory.steps]
    segments = annotate(trajectory.task, steps)
    return Annotation(trajectory.task_id, trajectory.variation, "rule", segments, trajectory.take)


def first_of_each_task(trajectories: Iterable[Trajectory], limit: int) -> list[Trajectory]:
    """At most so many trajectories of a task, the first ones."""
    counts: Counter[str] = Counter()
    chosen = []
    for trajectory in trajectories:
        counts[trajectory.task_id] += 1
        if counts[trajectory.task_id] <= limit:
            chosen.append(trajectory)
    return chosen


def write_annotations(annotations: Iterable[Annotation], table: Path) -> int:
    """Write them as a Parquet table; returns how many."""
    rows = [asdict(annotation) for annotation in annotations]
    table.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), table, compression="zstd", compression_level=19)
    return len(rows)


def read_annotations(table: Path) -> dict[PathKey, Annotation]:
    """Annotations by the key of their trajectory."""
    rows = pq.read_table(table).to_pylist()
    read = (Annotation(**{**row, "segments": [Segment(**segment) for segment in row["segments"]]}) for row in rows)
    return {annotation.key: annotation for annotation in read}


def training_subgoals(annotations: Iterable[Annotation]) -> list[str]:
    """Every sub-goal of the training variations, each once, sorted: what random sub-goals are drawn from."""
    trained = (one for one in annotations if find_task(one.task_id).split_of(one.variation) == "train")
    return sorted({segment.subgoal for one in trained for segment in one.segments} - {COMPLETE})


def describe(annotations: Iterable[Annotation]) -> str:
    """Sub-goals a path and the vocabulary of their verbs, for people."""
    every = list(annotations)
    verbs = Counter(segment.subgoal.partition("(")[0] for one in every for segment in one.segments)
    length = sum(len(one.segments) for one in every) / max(1, len(every))
    return f"{len(every)} paths, {length:.1f} sub-goals a path; " + ", ".join(
        f"{v} {n}" for v, n in verbs.most_common()
    )
