"""Oracle trajectories: the simulator's own solutions, made direct, replayed and recorded.

A path is kept only if its replay reaches 100. Four forms are tried, the best that solves is kept: `direct` (what
the oracle does, by a way that an agent can find by looking: `training.worlds.scienceworld.expert`), `plain` (shortened,
and things called as the simulator's answers call them), `shortened`, and `gold` as it was given. Further takes of a
direct path hold perturbations. What solves in none is listed in the manifest as failed. Finished variations are
appended to a parts file at once, so a killed run resumes where it stopped.

What shortening does (`easy` allows `teleport to`, which every published agent may use too): walks become one
teleport, doors that are open stay untouched, actions on oneself that do nothing go, and everything after the
score has reached 100 goes. A block sliding down a plane is watched for five looks, not to the bottom: how far
it got still answers which plane is steeper or smoother. No observation that an answer depends on is cut.

What plain naming does: the oracle says `focus on baby baby brown bear` or `move flower pot 3 containing pea plant
and soil in inventory to red box`; the simulator answers `You focus on the baby brown bear.` and `You move the
flower pot 3 to the red box.` The short names stand in what an agent sees, so that it can copy them.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from training.files import read_json, reading, sha256_of
from training.worlds.scienceworld.expert import (
    ROOMS,
    SCRIPTED_EXPERTS,
    WITHOUT_ORACLE,
    Solved,
    Unsolved,
    Walk,
    misplace,
)
from waymark.errors import EnvironmentFault, InvalidInput
from waymark.worlds.base import SOLVED, Step
from waymark.worlds.scienceworld.oracle_path import clean, plain_action
from waymark.worlds.scienceworld.tasks import TASKS, Split, find_task

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

PERTURBATION_RATE = 0.15
"""Probability of a perturbation before each action of a further take."""
_WATCHING = "look at inclined plane"
_WATCHED = 5
_RECORD_AGAIN = "Record it again: python -m training trajectories."
_IDLE = ("pick up ", "open ", "pour ")

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
    """Thrown in on purpose: history to recover from, no answer to learn."""


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
    """0: the path itself; from 1: with perturbations."""
    misplaced: str = ""
    """The room that what the task names was carried to before the first action; empty: it lay where it lies."""

    @property
    def key(self) -> PathKey:
        """What tells it from all other trajectories."""
        return self.task_id, self.variation, self.take

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
    """How many takes with perturbations are wanted beside the path itself."""
    misplaced: int = 0
    """How many takes more are wanted whose thing lies in another room than the simulator keeps it in."""


Record = Callable[["ScienceWorldSlot", Wanted], list[Trajectory]]
"""Makes the trajectories of one variation: a function of a module, which other processes can import."""


def shorten(gold: Sequence[str]) -> list[str]:
    """A direct path: each walk becomes one teleport to its end; idle and repeated actions go.

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
        if action.startswith(_WATCHING) and path[-_WATCHED:] == [action] * _WATCHED:
            continue
        path.append(action)
    return path


def plain(trajectory: Trajectory) -> list[str]:
    """The actions of a replay with things called as the answers call them, without those that did nothing."""
    path: list[str] = []
    look, inventory, score = trajectory.look, trajectory.inventory, 0
    seen = look + inventory
    for step in trajectory.steps:
        idle = (step.look, step.inventory, step.score) == (look, inventory, score) and step.action.startswith(_IDLE)
        look, inventory, score = step.look, step.inventory, step.score
        if not idle:
            path.append(plain_action(step.action, step.observation, seen))
        seen = step.look + step.inventory
    return path


class Recorder:
    """A simulator that keeps what each understood action led to."""

    def __init__(self, slot: ScienceWorldSlot, wanted: Wanted) -> None:
        self._slot = slot
        self._wanted = wanted
        self._met: set[str] = set()
        self.opening = slot.reset(wanted.task_id, wanted.variation, wanted.simplifications)
        self.steps: list[RecordedStep] = []

    def begin_here(self) -> None:
        """Forget what was recorded: the path begins with what is seen now."""
        if self.steps:
            last = self.steps[-1]
            self.opening = self.opening.model_copy(update={"look": last.look, "inventory": last.inventory})
            self.steps.clear()

    def step(self, action: str) -> Step:
        """Take one action."""
        step = self._slot.step(action)
        if step.known:
            now = set(self._slot.completed_goals()) - {""}
            goals = sorted(now - self._met)
            self._met |= now
            self.steps.append(
                RecordedStep(action, step.observation, step.look, step.inventory, step.score, step.moves, goals)
            )
        return step

    def trajectory(self, form: PathForm, steps: Sequence[RecordedStep], take: int = 0) -> Trajectory:
        """What was recorded."""
        task, wanted = find_task(self._wanted.task_id), self._wanted
        return Trajectory(
            task_id=task.id,
            variation=wanted.variation,
            split=task.split_of(wanted.variation),
            simplifications=wanted.simplifications,
            form=form,
            gold_actions=0,
            task=self.opening.task,
            look=self.opening.look,
            inventory=self.opening.inventory,
            steps=list(steps),
            take=take,
        )

    def walked(self, walk: Walk, take: int, misplaced: str) -> Trajectory:
        """What a walk in this simulator was recorded as, its perturbations marked."""
        steps = [
            replace(step, detour=taken.is_perturbation) for step, taken in zip(self.steps, walk.taken, strict=True)
        ]
        return replace(self.trajectory("direct", steps, take), misplaced=misplaced)


def replay(slot: ScienceWorldSlot, wanted: Wanted, actions: Sequence[str]) -> tuple[Trajectory, bool]:
    """Play a path from the start and record it up to the step that reaches 100, or to its end.

    The flag tells whether the simulator understood every action, and none in more than one way.
    """
    recorder = Recorder(slot, wanted)
    clear = True
    for action in actions:
        step = recorder.step(action)
        clear = clear and step.known and not step.ambiguous
        if step.known and (step.score >= SOLVED or step.score < 0):
            break
    return recorder.trajectory("gold", recorder.steps), clear


def directly(
    slot: ScienceWorldSlot, wanted: Wanted, oracle: Sequence[str], take: int = 0, *, misplaced: bool = False
) -> Trajectory | None:
    """The direct path of a variation; None where there is none. Takes from 1 on hold perturbations."""
    play = SCRIPTED_EXPERTS.get(wanted.task_id)
    if play is None:
        return None
    rng = random.Random(f"{wanted.task_id} {wanted.variation} {take}")
    room = rng.choice(ROOMS) if misplaced else ""
    try:
        recorder = begin(slot, wanted, oracle, room)
        walk = Walk(recorder, recorder.opening, oracle, perturbation_rate=PERTURBATION_RATE if take else 0.0, rng=rng)
        with suppress(Solved):
            play(walk)
    except Unsolved:
        return None
    return recorder.walked(walk, take, room) if walk.solved else None


def begin(slot: ScienceWorldSlot, wanted: Wanted, oracle: Sequence[str], room: str) -> Recorder:
    """A recorder at the beginning of an episode, what the task names carried to `room` before, if one is given.

    Raises Unsolved where that cannot be done.
    """
    recorder = Recorder(slot, wanted)
    if room:
        misplace(Walk(recorder, recorder.opening, oracle), room)
        recorder.begin_here()
    return recorder


def record(slot: ScienceWorldSlot, wanted: Wanted) -> list[Trajectory]:
    """The best trajectory of one variation, and of a direct one so many takes with perturbations as solve too."""
    gold: list[str] = []
    recorded, oracle = [], []
    direct = directly(slot, wanted, []) if wanted.task_id in WITHOUT_ORACLE else None
    if direct is None:
        gold = slot.gold_path(wanted.task_id, wanted.variation, wanted.simplifications)
        recorded = [_as_the_oracle(slot, wanted, gold)]
        oracle = [step.action for step in recorded[0].steps]
        direct = directly(slot, wanted, oracle)
    if direct is not None:
        more = (
            directly(slot, wanted, oracle, take, misplaced=take > wanted.takes)
            for take in range(1, wanted.takes + wanted.misplaced + 1)
        )
        recorded = [direct, *(one for one in more if one is not None)]
    return [replace(one, gold_actions=len(gold)) for one in recorded]


def _as_the_oracle(slot: ScienceWorldSlot, wanted: Wanted, gold: Sequence[str]) -> Trajectory:
    """The oracle's own way: plain if that solves clearly, else shortened, else as given."""
    form: PathForm = "shortened"
    trajectory, _ = replay(slot, wanted, shorten(gold))
    if trajectory.score < SOLVED:
        form = "gold"
        trajectory, _ = replay(slot, wanted, clean(gold))
    named, clear = replay(slot, wanted, plain(trajectory))
    if named.score >= SOLVED and clear:
        form, trajectory = "plain", named
    return replace(trajectory, form=form)


_pool_slots: list[ScienceWorldSlot] = []
"""The one JVM of a pool process, kept between calls."""


def _record_in_worker(job: tuple[Record, Wanted]) -> list[dict[str, Any]]:
    """One variation's rows for the parts file, made in a pool process."""
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

    record, wanted = job
    key = {"task_id": wanted.task_id, "variation": wanted.variation, "simplifications": wanted.simplifications}
    try:
        if not _pool_slots:
            _pool_slots.append(ScienceWorldSlot(timeout=180))
        return [asdict(take) for take in record(_pool_slots[0], wanted)] or [key | {"steps": None}]
    except EnvironmentFault as fault:
        while _pool_slots:
            _pool_slots.pop().close()
        return [key | {"fault": str(fault)}]


def _quiet_worker() -> None:
    """Ctrl-C is the parent's to handle; the pool's processes end when it does."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def collect(
    wanted: Sequence[Wanted], parts: Path, processes: int, record: Record = record
) -> Iterator[tuple[int, int]]:
    """Record what `parts` lacks, appending each as it is done. Yields (done, total) after each."""
    parts.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["task_id"], row["variation"], row["simplifications"]) for row in read_parts(parts)}
    missing = [one for one in wanted if (one.task_id, one.variation, one.simplifications) not in done]
    total = len(wanted)
    yield total - len(missing), total
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_quiet_worker) as pool, parts.open("a") as out:
        if out.tell() and not parts.read_bytes().endswith(b"\n"):
            out.write("\n")  # a kill cut the last line off; what follows it is a line of its own
        jobs = [(record, one) for one in missing]
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
    chosen = {(one.task_id, one.variation) for one in wanted}
    return (row for row in rows if (row["task_id"], row["variation"]) in chosen)


def write_table(
    rows: Iterable[dict[str, Any]],
    table: Path,
    settings: Mapping[str, Any],
    known_failures: Sequence[dict[str, Any]] = (),
    grown_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Pack the solved trajectories among the rows of parts files into Parquet beside a manifest, which is returned.

    `settings` are what the paths were recorded with; the manifest repeats them, and lists what failed after what is
    known to have failed before. `grown_from` is the manifest of the table whose rows are among these, if one is.
    """
    from waymark.worlds.scienceworld.environment import ENVIRONMENT_VERSION

    told = (row for row in rows if row.get("steps", []) is not None)
    every = sorted(told, key=lambda row: (row["task_id"], row["variation"], row.get("take", 0)))
    solved = [row for row in every if _is_solved(row)]
    failed = [
        {
            "task_id": row["task_id"],
            "variation": row["variation"],
            "reason": row.get("fault") or f"replay reached {row['steps'][-1]['score'] if row['steps'] else 0}",
        }
        for row in every
        if not _is_solved(row)
    ]
    table.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(solved), table, compression="zstd", compression_level=19)
    manifest = {
        "file": table.name,
        "sha256": sha256_of(table),
        "earlier": [*grown_from.get("earlier", []), grown_from["sha256"]] if grown_from else [],
        "environment": ENVIRONMENT_VERSION,
        "settings": {**settings, "detours": PERTURBATION_RATE},
        "recorded": datetime.now(UTC).date().isoformat(),
        "trajectories": len(solved),
        "steps": sum(len(row["steps"]) for row in solved),
        "by_form": {form: sum(row["form"] == form for row in solved) for form in FORMS},
        "gold_actions": sum(row["gold_actions"] for row in solved if not row.get("take")),
        "by_split": {split: sum(row["split"] == split for row in solved) for split in ("train", "dev", "test")},
        "by_task": {task.id: sum(row["task_id"] == task.id for row in solved) for task in TASKS},
        "failed": [*known_failures, *(one for one in failed if one not in known_failures)],
    }
    table.with_suffix(".manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
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


def read_table(table: Path) -> list[Trajectory]:
    """All trajectories of a Parquet table, in memory (about 1 MB a hundred).

    Raises InvalidInput where there is none, or not the one that its manifest describes.
    """
    manifest = read_manifest(table)
    with reading(table, "a table of trajectories", "data", _RECORD_AGAIN):
        if manifest["sha256"] != sha256_of(table):
            raise InvalidInput(
                f"{table} is not the file that its manifest describes.", remedy=_RECORD_AGAIN, field="data"
            )
        return [
            Trajectory(**{**row, "steps": [RecordedStep(**step) for step in row["steps"]]})
            for row in pq.read_table(table).to_pylist()
        ]
