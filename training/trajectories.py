"""Oracle trajectories: the simulator's own solutions, made direct, replayed and recorded.

A path is kept only if its replay reaches 100. The shortened path is tried first, the simulator's own
after it; what reaches 100 with neither is listed in the manifest as failed. Finished variations are
appended to a parts file at once, so a killed run resumes where it stopped.

What shortening does (REFERENCE: `easy` allows `teleport to`, which every published agent may use too):
walks become one teleport, doors that are open stay untouched, actions on oneself that do nothing go, and
everything after the score has reached 100 goes. No observation that an answer depends on is cut.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waymark.errors import EnvironmentFault
from waymark.tasks import TASKS, Split, TaskType, find_task

if TYPE_CHECKING:
    from waymark.environment.scienceworld import ScienceWorldSlot

SOLVED = 100
_DROPPED = ("look around", "close door ")
_WALKING = ("open door to ", "go to ")


@dataclass(frozen=True)
class RecordedStep:
    """One action of an oracle path and what it led to; `look` and `inventory` are those after it."""

    action: str
    observation: str
    look: str
    inventory: str
    score: int
    """0 to 100, after the action."""
    moves: int
    goals: list[str]
    """The simulator's goals that this action met, e.g. `activate heater (stove)`."""


@dataclass(frozen=True)
class Trajectory:
    """One solved variation. `look` and `inventory` are those before the first action."""

    task_id: str
    variation: int
    split: Split
    simplifications: str
    shortened: bool
    gold_actions: int
    """Length of the simulator's own path, before anything was dropped."""
    task: str
    look: str
    inventory: str
    steps: list[RecordedStep]

    @property
    def score(self) -> int:
        """The final score, 0 to 100."""
        return self.steps[-1].score if self.steps else 0


@dataclass(frozen=True)
class Wanted:
    """One variation to record."""

    task_id: str
    variation: int
    simplifications: str


def spread(task: TaskType, split: Split, limit: int) -> list[int]:
    """At most `limit` variations of a split, evenly spaced over it, so that every kind of room is met."""
    every = task.split(split)
    count = min(limit, len(every))
    return [every[(index * len(every)) // count] for index in range(count)]


def plan(split: Split, limit: int, limits: dict[str, int], simplifications: str) -> list[Wanted]:
    """What to record: every task's first, then every task's second, so that a stopped run is balanced."""
    chosen = [
        (rank, Wanted(task.id, variation, simplifications))
        for task in TASKS
        for rank, variation in enumerate(spread(task, split, limits.get(task.id, limit)))
    ]
    return [wanted for _, wanted in sorted(chosen, key=lambda pair: pair[0])]


def clean(gold: Sequence[str]) -> list[str]:
    """The gold path without its looks, closed doors and answers to ambiguities (the slot answers those)."""
    return [action for action in gold if not action.startswith(_DROPPED) and not action.isdigit()]


def shorten(gold: Sequence[str]) -> list[str]:
    """A direct path: each walk becomes one teleport to its end; actions of a thing on itself go.

    >>> shorten(["open door to hall", "go to hall", "open door to kitchen", "go to kitchen", "pick up pot"])
    ['teleport to kitchen', 'pick up pot']
    """
    path: list[str] = []
    for action in clean(gold):
        if action.startswith("open door to "):
            continue
        if action.startswith("go to "):
            if path and path[-1].startswith("teleport to "):
                path.pop()
            path.append("teleport to " + action.removeprefix("go to "))
            continue
        verb, _, rest = action.partition(" ")
        left, into, right = rest.partition(" into ")
        if verb == "pour" and into and left == right:
            continue
        path.append(action)
    return path


def replay(slot: ScienceWorldSlot, wanted: Wanted, actions: Sequence[str]) -> Trajectory:
    """Play a path from the start and record it up to the step that reaches 100, or to its end."""
    task = find_task(wanted.task_id)
    opening = slot.reset(wanted.task_id, wanted.variation, wanted.simplifications)
    steps: list[RecordedStep] = []
    met: set[str] = set()
    for action in actions:
        step = slot.step(action)
        if not step.known:
            continue
        now = set(slot.completed_goals())
        steps.append(
            RecordedStep(
                action, step.observation, step.look, step.inventory, step.score, step.moves, sorted(now - met - {""})
            )
        )
        met |= now
        if step.score >= SOLVED or step.score < 0:
            break
    return Trajectory(
        task_id=task.id,
        variation=wanted.variation,
        split=task.split_of(wanted.variation),
        simplifications=wanted.simplifications,
        shortened=False,
        gold_actions=0,
        task=opening.task,
        look=opening.look,
        inventory=opening.inventory,
        steps=steps,
    )


def record(slot: ScienceWorldSlot, wanted: Wanted) -> Trajectory:
    """The best trajectory of one variation: shortened if that reaches 100, else as the simulator gave it."""
    gold = slot.gold_path(wanted.task_id, wanted.variation, wanted.simplifications)
    trajectory = replay(slot, wanted, shorten(gold))
    shortened = trajectory.score >= SOLVED
    if not shortened:
        trajectory = replay(slot, wanted, clean(gold))
    return Trajectory(**{**vars(trajectory), "shortened": shortened, "gold_actions": len(gold)})


_slot: ScienceWorldSlot | None = None


def _record_in_worker(wanted: Wanted) -> Trajectory | str:
    """One variation in a pool process, which keeps its JVM between calls. A fault comes back as text."""
    global _slot
    from waymark.environment.scienceworld import ScienceWorldSlot

    try:
        _slot = _slot or ScienceWorldSlot(timeout=180)
        return record(_slot, wanted)
    except EnvironmentFault as fault:
        if _slot:
            _slot.close()
        _slot = None
        return str(fault)


def _quiet_worker() -> None:
    """Ctrl-C is the parent's to handle; the pool's processes end when it does."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def collect(wanted: Sequence[Wanted], parts: Path, processes: int) -> Iterator[tuple[int, int]]:
    """Record what `parts` lacks, appending each as it is done. Yields (done, total) after each."""
    parts.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["task_id"], row["variation"], row["simplifications"]) for row in read_parts(parts)}
    missing = [one for one in wanted if (one.task_id, one.variation, one.simplifications) not in done]
    total = len(wanted)
    yield total - len(missing), total
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_quiet_worker) as pool, parts.open("a") as out:
        tickets = [(one, pool.apply_async(_record_in_worker, (one,))) for one in missing]
        for count, (one, ticket) in enumerate(tickets, start=total - len(missing) + 1):
            result = ticket.get()
            row = asdict(result) if isinstance(result, Trajectory) else {**asdict(one), "fault": result}
            out.write(json.dumps(row) + "\n")
            out.flush()
            yield count, total


def read_parts(parts: Path) -> Iterator[dict[str, Any]]:
    """Rows of a parts file; a last line cut off by a kill is dropped."""
    if not parts.exists():
        return
    for line in parts.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def write_table(parts: Path, table: Path) -> dict[str, Any]:
    """Pack the solved trajectories of a parts file into Parquet beside a manifest, which is returned."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from waymark.environment.scienceworld import ENVIRONMENT_VERSION

    rows = sorted(read_parts(parts), key=lambda row: (find_task(row["task_id"]).id, row["variation"]))
    solved = [row for row in rows if "fault" not in row and row["steps"] and row["steps"][-1]["score"] >= SOLVED]
    failed = [
        {
            "task_id": row["task_id"],
            "variation": row["variation"],
            "reason": row.get("fault") or f"replay reached {row['steps'][-1]['score'] if row['steps'] else 0}",
        }
        for row in rows
        if row not in solved
    ]
    table.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(solved), table, compression="zstd", compression_level=19)
    manifest = {
        "file": table.name,
        "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "environment": ENVIRONMENT_VERSION,
        "recorded": datetime.now(UTC).date().isoformat(),
        "trajectories": len(solved),
        "steps": sum(len(row["steps"]) for row in solved),
        "shortened": sum(row["shortened"] for row in solved),
        "gold_actions": sum(row["gold_actions"] for row in solved),
        "by_split": {split: sum(row["split"] == split for row in solved) for split in ("train", "dev", "test")},
        "by_task": {task.id: sum(row["task_id"] == task.id for row in solved) for task in TASKS},
        "failed": failed,
    }
    table.with_suffix(".manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def read_table(table: Path) -> list[Trajectory]:
    """All trajectories of a Parquet table, in memory (about 1 MB a hundred).

    Raises FileNotFoundError, and ValueError when the file is not the one that its manifest describes.
    """
    import pyarrow.parquet as pq

    manifest = json.loads(table.with_suffix(".manifest.json").read_text())
    if manifest["sha256"] != hashlib.sha256(table.read_bytes()).hexdigest():
        raise ValueError(f"{table} is not the file its manifest describes; rebuild it: python -m training trajectories")
    return [
        Trajectory(**{**row, "steps": [RecordedStep(**step) for step in row["steps"]]})
        for row in pq.read_table(table).to_pylist()
    ]


def default_processes() -> int:
    """One JVM for each core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))
