"""Trajectories: solved paths of a world, recorded with all that an agent saw on them, and kept in a table.

A world's recorder plays a path and tells how it went (`training.worlds`). A path is kept only if it reaches the full
score; what does not is listed in the manifest as failed. Finished variations are appended to a parts file at once, so a
killed run resumes where it stopped.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from training.user_files import read_json, reading, replacing, sha256_of
from waymark.contracts import Opening
from waymark.errors import EnvironmentFault, InvalidInput
from waymark.operating_system.process_tree import end_with
from waymark.worlds.base import SOLVED, Environment, EnvironmentLimits, Split, TaskType, World
from waymark.worlds.registry import get_world, world_of_task

_RECORD_AGAIN: Final = "Record it again: python -m training trajectories."
_SECONDS: Final = 180.0
"""That one call of a simulator may take: gold paths of ScienceWorld's Mendelian tasks take 30 s."""

PathForm = Literal["direct", "plain", "shortened", "gold"]
FORMS: tuple[PathForm, ...] = get_args(PathForm)
PathKey = tuple[str, int, int]
"""Task id, variation, take."""


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
    detour: bool = False
    """Thrown in on purpose, or an agent's own turn: history to recover from, no answer to learn."""
    known: bool = True
    """Whether the environment knew the action. Paths of experts hold known actions only."""
    subgoal: str = ""
    """The sub-goal that an agent followed in its own turn; empty: the annotator names one."""

    @property
    def ends_subgoal(self) -> bool:
        """Whether this is an agent's own turn without an action, in which its executor ended the sub-goal."""
        return not self.action


@dataclass(frozen=True)
class Trajectory:
    """One solved variation. `look` and `inventory` are those before the first action."""

    task_id: str
    variation: int
    split: Split
    simplifications: str
    form: PathForm
    gold_actions: int
    """Length of the simulator's own path, before anything was dropped; 0 where it was not asked for one."""
    task: str
    look: str
    inventory: str
    steps: list[RecordedStep]
    take: int = 0
    """0: the path itself; from 1: changed on purpose, e.g. with perturbations or other names."""
    misplaced: str = ""
    """The room that what the task names was carried to before the first action; empty: it lay where it lies."""

    @classmethod
    def of(
        cls,
        wanted: Wanted,
        task: TaskType,
        opening: Opening,
        steps: Sequence[RecordedStep],
        *,
        form: PathForm,
        take: int = 0,
    ) -> Trajectory:
        """What was recorded of a variation; `gold_actions` and `misplaced` are to be set by who knows them."""
        return cls(
            task_id=task.id,
            variation=wanted.variation,
            split=task.split_of(wanted.variation),
            simplifications=wanted.simplifications,
            form=form,
            gold_actions=0,
            task=opening.task,
            look=opening.look,
            inventory=opening.inventory,
            steps=list(steps),
            take=take,
        )

    @property
    def key(self) -> PathKey:
        """What tells it from all other trajectories."""
        return self.task_id, self.variation, self.take

    @property
    def begins_with_own_turns(self) -> bool:
        """Whether it holds turns that an agent played, with its failures. Turns of a flat agent count only if one was
        unknown."""
        return any(step.subgoal or not step.known for step in self.steps)

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
    takes: int = 0
    """How many changed takes are wanted beside the path itself."""
    misplaced: int = 0
    """How many takes more are wanted whose thing lies in another room than the simulator keeps it in."""


Record = Callable[[Any, Wanted], list[Trajectory]]
"""Makes the trajectories of one variation with an environment of its world: a function of a module, or a partial of
one, which other processes can import."""


_pool_environments: list[Environment] = []
"""The one environment of a pool process, kept between calls."""


def _record_in_worker(job: tuple[str, Record, Wanted]) -> list[dict[str, Any]]:
    """One variation's rows for the parts file, made in a pool process."""
    world, record, wanted = job
    key = {"task_id": wanted.task_id, "variation": wanted.variation, "simplifications": wanted.simplifications}
    try:
        if not _pool_environments:
            _pool_environments.append(get_world(world).open(EnvironmentLimits(timeout=_SECONDS)))
        return [asdict(take) for take in record(_pool_environments[0], wanted)] or [key | {"steps": None}]
    except EnvironmentFault as fault:
        while _pool_environments:
            _pool_environments.pop().close()
        return [key | {"fault": str(fault)}]


def _quiet_worker() -> None:
    """Ctrl-C is the parent's to handle; the pool's processes end when it does, also when it is killed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent := multiprocessing.parent_process():
        end_with(parent.pid or 0)


def collect(
    wanted: Sequence[Wanted], parts: Path, processes: int, record: Record, world: World
) -> Iterator[tuple[int, int]]:
    """Record what `parts` lacks of a world, appending each as it is done. Yields (done, total) after each."""
    parts.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["task_id"], row["variation"], row["simplifications"]) for row in read_parts(parts)}
    missing = [
        variation
        for variation in wanted
        if (variation.task_id, variation.variation, variation.simplifications) not in done
    ]
    total = len(wanted)
    yield total - len(missing), total
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_quiet_worker) as pool, parts.open("a") as out:
        if out.tell() and not parts.read_bytes().endswith(b"\n"):
            out.write("\n")  # a kill cut the last line off; what follows it is a line of its own
        jobs = [(world.name, record, variation) for variation in missing]
        for count, rows in enumerate(pool.imap_unordered(_record_in_worker, jobs), start=total - len(missing) + 1):
            out.write(json.dumps(rows) + "\n")
            out.flush()
            yield count, total


def read_parts(parts: Path) -> Iterator[dict[str, Any]]:
    """Rows of a parts file, which has a line a variation, so that a kill leaves none with some of its takes: each a
    trajectory, what the variation failed of (`fault`), or that there was nothing to record (`steps` null). A line cut
    off by a kill is dropped."""
    if not parts.exists():
        return
    for line in parts.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            yield from json.loads(line)


def rows_of(wanted: Iterable[Wanted], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of some variations alone."""
    chosen = {(variation.task_id, variation.variation) for variation in wanted}
    return (row for row in rows if (row["task_id"], row["variation"]) in chosen)


def write_table(
    rows: Iterable[dict[str, Any]],
    table: Path,
    settings: Mapping[str, Any],
    world: World,
    known_failures: Sequence[dict[str, Any]] = (),
    grown_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Pack the solved trajectories among the rows of parts files into Parquet beside a manifest, which is returned.

    `settings` are what the paths were recorded with; the manifest repeats them, and lists what failed after what is
    known to have failed before. `grown_from` is the manifest of the table whose rows are among these, if one is.
    """
    recorded = (row for row in rows if row.get("steps", []) is not None)
    ordered = sorted(recorded, key=lambda row: (row["task_id"], row["variation"], row.get("take", 0)))
    solved = [row for row in ordered if _is_solved(row)]
    failed = [
        {
            "task_id": row["task_id"],
            "variation": row["variation"],
            "reason": row.get("fault") or f"replay reached {row['steps'][-1]['score'] if row['steps'] else 0}",
        }
        for row in ordered
        if not _is_solved(row)
    ]
    with replacing(table) as partial:
        pq.write_table(pa.Table.from_pylist(solved), partial, compression="zstd", compression_level=19)
    manifest = {
        "file": table.name,
        "sha256": sha256_of(table),
        "earlier": [*grown_from.get("earlier", []), grown_from["sha256"]] if grown_from else [],
        "environment": world.version,
        "settings": dict(settings),
        "recorded": datetime.now(UTC).date().isoformat(),
        "trajectories": len(solved),
        "steps": sum(len(row["steps"]) for row in solved),
        "by_form": {form: sum(row["form"] == form for row in solved) for form in FORMS},
        "gold_actions": sum(row["gold_actions"] for row in solved if not row.get("take")),
        "by_split": {split: sum(row["split"] == split for row in solved) for split in ("train", "dev", "test")},
        "by_task": {task.id: sum(row["task_id"] == task.id for row in solved) for task in world.tasks},
        "failed": [*known_failures, *(failure for failure in failed if failure not in known_failures)],
    }
    with replacing(table.with_suffix(".manifest.json")) as partial:
        partial.write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _is_solved(row: dict[str, Any]) -> bool:
    return "fault" not in row and bool(row["steps"]) and row["steps"][-1]["score"] >= SOLVED


def read_manifest(table: Path) -> dict[str, Any]:
    """What a Parquet table of trajectories was made from and holds. Raises InvalidInput where there is none."""
    path = table.with_suffix(".manifest.json")
    if not (table.is_file() and path.is_file()):
        raise InvalidInput(
            f"{table} is no table of trajectories: {path.name if table.is_file() else table.name} is not there.",
            remedy="Name one, or record one: python -m training trajectories.",
            field="data",
        )
    manifest = read_json(path, "the manifest of a table of trajectories", "data")
    if not isinstance(manifest.get("sha256"), str):
        raise InvalidInput(f"{path} names no sha256.", remedy=_RECORD_AGAIN, field="data")
    return manifest


def read_table(table: Path, world: World | None = None) -> list[Trajectory]:
    """All trajectories of a Parquet table, in memory (about 1 MB a hundred).

    Raises InvalidInput where there is none, or not the one that its manifest describes, or if it holds a path of
    another world than `world`.
    """
    manifest = read_manifest(table)
    with reading(table, "a table of trajectories", "data", _RECORD_AGAIN):
        if manifest["sha256"] != sha256_of(table):
            raise InvalidInput(
                f"{table} is not the file that its manifest describes.", remedy=_RECORD_AGAIN, field="data"
            )
        paths = [
            Trajectory(**{**row, "steps": [RecordedStep(**step) for step in row["steps"]]})
            for row in pq.read_table(table).to_pylist()
        ]
    if world is not None:
        _require_world(paths, world, table)
    return paths


def _require_world(paths: Sequence[Trajectory], world: World, table: Path) -> None:
    for task_id in sorted({path.task_id for path in paths}):
        other = world_of_task(task_id)
        if other.name != world.name:
            raise InvalidInput(
                f"{table} holds paths of {other.title} (task {task_id}), not of {world.title}.",
                remedy=f"Name a table of {world.title}, or give --world {other.name} if the command has that option.",
                field="data",
            )
