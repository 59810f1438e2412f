"""Compares two annotations: where they cut the same paths, and how they name the sub-goals.

`complete_task()` is left out throughout, since it is always there. Paths that only one of them has, or that are of
different lengths, are listed and not compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from training.annotations import Annotation
from training.trajectories import PathKey
from training.worlds.registry import in_order
from waymark.worlds.base import Segment

_VERBS_SHOWN = 12


@dataclass
class Style:
    """Statistics of how one annotator cuts and names paths."""

    subgoals: int = 0
    verbs: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)

    def add(self, segments: Iterable[Segment]) -> None:
        """Count one more path."""
        for segment in segments:
            self.subgoals += 1
            self.verbs[_verb(segment.subgoal)] += 1
            self.names.add(segment.subgoal)


@dataclass
class Agreement:
    """Agreement of two annotators on the same paths, as sums over the paths."""

    paths: int = 0
    actions: int = 0
    left: Style = field(default_factory=Style)
    right: Style = field(default_factory=Style)
    shared_boundaries: int = 0
    boundaries: int = 0
    """Number of boundaries of both annotations together; a path's start and end do not count."""
    same_verb: int = 0
    same_name: int = 0

    def add(self, left: Sequence[Segment], right: Sequence[Segment]) -> None:
        """Take one more path in; both cover the same actions."""
        self.paths += 1
        self.left.add(left)
        self.right.add(right)
        ours, theirs = ({segment.start for segment in side if segment.start} for side in (left, right))
        self.shared_boundaries += len(ours & theirs)
        self.boundaries += len(ours) + len(theirs)
        for subgoal, other_subgoal in zip(_by_action(left), _by_action(right), strict=True):
            self.actions += 1
            self.same_name += subgoal == other_subgoal
            self.same_verb += _verb(subgoal) == _verb(other_subgoal)

    @property
    def boundary_f1(self) -> float:
        """F1 score of the boundaries, 0 to 1; 1 if neither annotator cuts at all."""
        return 2 * self.shared_boundaries / self.boundaries if self.boundaries else 1.0

    def facts(self) -> dict[str, Any]:
        """The figures for JSON; shares are shares of actions."""
        return {
            "paths": self.paths,
            "actions": self.actions,
            **{
                side: {
                    "subgoals_per_path": style.subgoals / max(1, self.paths),
                    "actions_per_subgoal": self.actions / max(1, style.subgoals),
                    "verbs": dict(style.verbs.most_common()),
                    "distinct_subgoals": len(style.names),
                }
                for side, style in (("left", self.left), ("right", self.right))
            },
            "boundary_f1": self.boundary_f1,
            "same_verb": self.same_verb / max(1, self.actions),
            "same_name": self.same_name / max(1, self.actions),
        }


@dataclass(frozen=True)
class Comparison:
    """Two annotation tables: agreement overall and by task, and what could not be compared."""

    left: str
    right: str
    overall: Agreement
    by_task: dict[str, Agreement]
    only_left: list[PathKey]
    only_right: list[PathKey]
    of_other_length: list[PathKey]

    def facts(self) -> dict[str, Any]:
        """The whole report as JSON."""
        return {
            "left": self.left,
            "right": self.right,
            "overall": self.overall.facts(),
            "tasks": {task_id: agreement.facts() for task_id, agreement in self.by_task.items()},
            "only_left": self.only_left,
            "only_right": self.only_right,
            "of_other_length": self.of_other_length,
        }

    def table(self) -> Table:
        """By task and overall."""
        table = Table(title=f"{self.left} | {self.right}")
        for heading in ("task", "paths", "sub-goals a path", "actions a sub-goal", "cuts F1", "same verb", "same name"):
            table.add_column(heading, justify="left" if heading == "task" else "right")
        for task_id, agreement in [*self.by_task.items(), ("all", self.overall)]:
            facts = agreement.facts()
            left, right = facts["left"], facts["right"]
            table.add_row(
                task_id,
                str(agreement.paths),
                f"{left['subgoals_per_path']:.1f} | {right['subgoals_per_path']:.1f}",
                f"{left['actions_per_subgoal']:.1f} | {right['actions_per_subgoal']:.1f}",
                f"{facts['boundary_f1']:.2f}",
                f"{facts['same_verb']:.0%}",
                f"{facts['same_name']:.0%}",
            )
        return table

    def notes(self) -> list[str]:
        """Notes below the table: vocabularies, and paths that were not compared."""
        lines = []
        for name, style in ((self.left, self.overall.left), (self.right, self.overall.right)):
            most = ", ".join(f"{verb} {count}" for verb, count in style.verbs.most_common(_VERBS_SHOWN))
            lines.append(f"{name}: {len(style.verbs)} verbs, {len(style.names)} different sub-goals; {most}")
        for count, reason in (
            (len(self.only_left), f"only in {self.left}"),
            (len(self.only_right), f"only in {self.right}"),
            (len(self.of_other_length), "of different lengths"),
        ):
            if count:
                lines.append(f"{count} paths {reason}: not compared.")
        return lines


def compare(left: Mapping[PathKey, Annotation], right: Mapping[PathKey, Annotation]) -> Comparison:
    """Compare two annotations of the paths that both have."""
    by_task: dict[str, Agreement] = defaultdict(Agreement)
    overall, of_other_length = Agreement(), []
    for key in left.keys() & right.keys():
        ours, theirs = _named(left[key]), _named(right[key])
        if _length(ours) != _length(theirs):
            of_other_length.append(key)
            continue
        for agreement in (by_task[key[0]], overall):
            agreement.add(ours, theirs)
    return Comparison(
        left=_annotators(left),
        right=_annotators(right),
        overall=overall,
        by_task={task.id: by_task[task.id] for task in in_order(by_task)},
        only_left=sorted(left.keys() - right.keys()),
        only_right=sorted(right.keys() - left.keys()),
        of_other_length=sorted(of_other_length),
    )


def _named(annotation: Annotation) -> list[Segment]:
    return [segment for segment in annotation.segments if segment.stop > segment.start]


def _length(segments: Sequence[Segment]) -> int:
    return segments[-1].stop if segments else 0


def _by_action(segments: Iterable[Segment]) -> list[str]:
    return [segment.subgoal for segment in segments for _ in range(segment.start, segment.stop)]


def _verb(subgoal: str) -> str:
    return subgoal.partition("(")[0]


def _annotators(annotations: Mapping[PathKey, Annotation]) -> str:
    return ", ".join(sorted({annotation.annotator for annotation in annotations.values()})) or "nobody"
