"""ScienceWorld's paths: the simulator's own solutions, made direct, replayed and recorded.

Four forms are tried, the best that solves is kept: `direct` (what the oracle does, by a way that an agent can find by
looking: `training.worlds.scienceworld.expert`), `plain` (shortened, and things called as the simulator's answers call
them), `shortened`, and `gold` as it was given. Further takes of a direct path hold
perturbations.

What shortening does (`easy` allows `teleport to`, which every published agent may use too): walks become one
teleport, doors that are open stay untouched, actions on oneself that do nothing go, and everything after the
score has reached 100 goes. A block sliding down a plane is watched for five looks, not to the bottom: how far
it got still answers which plane is steeper or smoother. No observation that an answer depends on is cut.

What plain naming does: the oracle says `focus on baby baby brown bear` or `move flower pot 3 containing pea plant
and soil in inventory to red box`; the simulator answers `You focus on the baby brown bear.` and `You move the
flower pot 3 to the red box.` The short names stand in what an agent sees, so that it can copy them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from training.trajectories import PathForm, RecordedStep, Trajectory, Wanted
from training.worlds.scienceworld.expert import (
    ROOMS,
    SCRIPTED_EXPERTS,
    WITHOUT_ORACLE,
    Solved,
    Unsolved,
    Walk,
    misplace,
)
from waymark.worlds.base import SOLVED, Step
from waymark.worlds.scienceworld.oracle_path import clean, plain_action
from waymark.worlds.scienceworld.tasks import find_task

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

PERTURBATION_RATE = 0.15
"""Probability of a perturbation before each action of a further take."""
_WATCHING = "look at inclined plane"
_WATCHED = 5
_IDLE = ("pick up ", "open ", "pour ")


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
        return Trajectory.of(self._wanted, find_task(self._wanted.task_id), self.opening, steps, form=form, take=take)

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
        recorded = [direct, *(path for path in more if path is not None)]
    return [replace(path, gold_actions=len(gold)) for path in recorded]


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
