"""Episodes with prompts and targets of the published code, as a path with its sub-goals."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from training.annotations import Annotation
from training.trajectories import RecordedStep, Trajectory
from waymark.worlds.base import COMPLETE, Segment
from waymark.worlds.scienceworld.tasks import find_task

COPY = Path(__file__).parent / "golden" / "episodes.jsonl.gz"
FILE = Path(os.environ.get("WAYMARK_GOLDEN") or COPY)
END = "end subgoal"
_GZIP = b"\x1f\x8b"

Episode = dict[str, Any]


@cache
def golden(file: Path = FILE) -> list[Episode]:
    """All episodes of a file of JSON lines, gzipped or not: the one that WAYMARK_GOLDEN names, else the copy."""
    content = file.read_bytes()
    text = gzip.decompress(content) if content.startswith(_GZIP) else content
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def name(episode: Episode) -> str:
    """What tests call it."""
    return f"{episode['task']}/{episode['variation']}"


def recorded(episode: Episode) -> tuple[Trajectory, Annotation]:
    """The recorded path, without its ended sub-goals, and its annotation. What follows the last action is not known."""
    taken = [step for step in episode["steps"] if step["action"] != END]
    after = [*taken[1:], taken[-1]]
    task = find_task(episode["task"])
    trajectory = Trajectory(
        task_id=task.id,
        variation=episode["variation"],
        split=task.split_of(episode["variation"]),
        simplifications="easy",
        form="gold",
        gold_actions=len(taken),
        task=episode["task_description"],
        look=taken[0]["look"],
        inventory=taken[0]["inventory"],
        steps=[
            RecordedStep(step["action"], step["observation"], now["look"], now["inventory"], step["score"], 0, [])
            for step, now in zip(taken, after, strict=True)
        ],
    )
    return trajectory, Annotation(task.id, episode["variation"], "golden", list(_segments(taken)))


def _segments(taken: list[dict[str, Any]]) -> Iterator[Segment]:
    start = 0
    for subgoal, run in groupby(step["subgoal"] for step in taken):
        stop = start + len(list(run))
        yield Segment(subgoal, start, stop)
        start = stop
    yield Segment(COMPLETE, start, start)
