"""Annotated trajectories: oracle paths split into sub-goals.

The schema is the same for all annotators: task id, variation, and segments that cover the path without gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.trajectories import PathKey, RecordedStep, Trajectory
from training.user_files import reading, replacing
from training.worlds.registry import find_task
from waymark.errors import InvalidInput
from waymark.worlds.base import COMPLETE, PathStep, Segment
from waymark.worlds.registry import world_of_task


@dataclass(frozen=True)
class Annotation:
    """The sub-goals of one trajectory; the last segment is `complete_task()` and empty."""

    task_id: str
    variation: int
    annotator: str
    segments: list[Segment]
    take: int = 0
    """The take of the trajectory."""

    @property
    def key(self) -> PathKey:
        """The trajectory's."""
        return self.task_id, self.variation, self.take


def annotate_by_rule(trajectory: Trajectory) -> Annotation:
    """The rule annotator's answer for one trajectory. An agent's own turns, with which a path may begin, keep the
    sub-goals that the agent followed."""
    own = sum(1 for _ in takewhile(lambda step: step.subgoal, trajectory.steps))
    steps = [PathStep(step.action, step.observation, step.detour) for step in trajectory.steps[own:]]
    segments = world_of_task(trajectory.task_id).annotate(trajectory.task, steps)
    followed = [Segment(segment.subgoal, segment.start + own, segment.stop + own) for segment in segments]
    segments = [*_own_segments(trajectory.steps[:own]), *followed]
    return Annotation(trajectory.task_id, trajectory.variation, "rule", segments, trajectory.take)


def _own_segments(steps: Sequence[RecordedStep]) -> list[Segment]:
    """The sub-goals of an agent's own turns. Each lasts until the executor ends it, or until another one is given."""
    segments: list[Segment] = []
    for place, step in enumerate(steps):
        begins = not place or steps[place - 1].ends_subgoal or steps[place - 1].subgoal != step.subgoal
        start = place if begins else segments.pop().start
        segments.append(Segment(step.subgoal, start, place + 1))
    return segments


def first_of_each_task(trajectories: Iterable[Trajectory], limit: int) -> list[Trajectory]:
    """The first trajectories of each task, at most so many."""
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
    with replacing(table) as partial:
        pq.write_table(pa.Table.from_pylist(rows), partial, compression="zstd", compression_level=19)
    return len(rows)


def read_annotations(table: Path) -> dict[PathKey, Annotation]:
    """Annotations by the key of their trajectory. Raises InvalidInput for a file that is no such table."""
    read: dict[PathKey, Annotation] = {}
    with reading(table, "a table of annotations", "annotations", "Write one: python -m training annotate."):
        for row in pq.read_table(table).to_pylist():
            annotation = Annotation(**{**row, "segments": [Segment(**segment) for segment in row["segments"]]})
            if annotation.key in read:
                raise InvalidInput(
                    f"{table} annotates {_named(annotation.key)} more than once.",
                    remedy="Write it again: python -m training annotate.",
                    field="annotations",
                )
            read[annotation.key] = annotation
    return read


def annotated(
    trajectories: Sequence[Trajectory], annotations: Mapping[PathKey, Annotation], *, require_all: bool = False
) -> list[Trajectory]:
    """The trajectories that have an annotation, in their order.

    Raises InvalidInput when none has one, when one has none and `require_all` is set, and when an annotation does not
    fit its path: it is of another table of trajectories.
    """
    chosen = [path for path in trajectories if path.key in annotations]
    for path in chosen:
        segments = annotations[path.key].segments
        edges = [0, *(segment.stop for segment in segments)]
        if not segments or [segment.start for segment in segments] != edges[:-1] or edges[-1] != len(path.steps):
            covers = f"covers {edges[-1]} actions"
            if edges[-1] == len(path.steps):
                covers = "has sub-goals that do not follow one another without gaps"
            raise InvalidInput(
                f"The annotation of {_named(path.key)} {covers}; the path has {len(path.steps)} actions.",
                remedy="Name the annotations of these trajectories, or annotate them: python -m training annotate.",
                field="annotations",
            )
    missing = next((path for path in trajectories if path.key not in annotations), None)
    if missing and (require_all or not chosen):
        count = len(trajectories) - len(chosen)
        raise InvalidInput(
            f"{count} of {len(trajectories)} paths have no annotation; the first is {_named(missing.key)}.",
            remedy="Annotate them: python -m training annotate"
            + (", or leave out --require-all." if chosen else ", or name the annotations of these trajectories."),
            field="annotations",
        )
    return chosen


def describe_coverage(trajectories: Sequence[Trajectory], annotations: Mapping[PathKey, Annotation]) -> str:
    """A sentence about paths and annotations that do not match; empty if all match."""
    known = {path.key for path in trajectories}
    left_out, unknown = len(known - annotations.keys()), len(annotations.keys() - known)
    parts = []
    if left_out:
        parts.append(f"{left_out:,} of {len(known):,} paths have no annotation and are left out")
    if unknown:
        parts.append(f"{unknown:,} annotations are of paths that are not in the data and are ignored")
    return "; ".join(parts) + "." if parts else ""


def training_subgoals(annotations: Iterable[Annotation]) -> list[str]:
    """Every sub-goal of the training variations, those of an agent's own turns included, each once, sorted. Random
    sub-goals are drawn from these."""
    trained = (
        annotation
        for annotation in annotations
        if find_task(annotation.task_id).split_of(annotation.variation) == "train"
    )
    return sorted({segment.subgoal for annotation in trained for segment in annotation.segments} - {COMPLETE})


def describe(annotations: Iterable[Annotation]) -> str:
    """A text with the number of sub-goals of a path and the vocabulary of their verbs."""
    known = list(annotations)
    verbs = Counter(segment.subgoal.partition("(")[0] for annotation in known for segment in annotation.segments)
    length = sum(len(annotation.segments) for annotation in known) / max(1, len(known))
    return f"{len(known)} paths, {length:.1f} sub-goals a path; " + ", ".join(
        f"{v} {n}" for v, n in verbs.most_common()
    )


def _named(key: PathKey) -> str:
    task_id, variation, take = key
    return f"task {task_id} variation {variation}" + (f" take {take}" if take else "")
