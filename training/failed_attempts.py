"""Failed attempts put into histories, so that models learn what to do after one.

An oracle path holds no action that the environment does not know, no sub-goal that is given twice, and none that goes
on when nothing is left to do. An agent without rules of play meets all three. Its prompt then changes so little that
the best answer stays the same: 17 of the 20 episodes that it lost on fold 0 ended in such a loop (docs/log.md). Rules
of play break loops from outside. Here a path is walked once more, and at some of its decisions an attempt that failed
is put in before the decision; the answer stays the oracle's.

    repeated    the sub-goal that has just ended is given again, once to three times, with its last action or without
                any. The controller names the next one. (An executor that learns to end such a sub-goal at once ends
                others at once, too, and then the same sub-goal is given for ever: docs/log.md.)
    refused     a sub-goal about something else, and its action, one to four times, which the environment does not know.
                The executor ends it; the controller names the next one.
    misspelt    the right action with a word left out or replaced, one to three times, not known. The executor, or the
                flat model, answers with the right one.
    hopeless    the same, or the right action itself, four to twelve times, until the prompt shows nothing else. The
                executor ends the sub-goal.
    overrun     the last action of a sub-goal, one to twelve times more, with the same answer. The executor ends it.

No simulator is asked: an attempt changes neither room nor inventory. That is true of refused actions, and nearly true
of repeated ones. This is DAgger's idea (Ross et al., AISTATS 2011) with made-up mistakes in place of the agent's own.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from training.annotations import Annotation
from training.datasets import Decision, on_detour, take_turn
from training.trajectories import PathKey, RecordedStep, Trajectory
from training.worlds.base import TrainingWorld
from waymark.agent.state import COMPLETE, StateFold
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentState, Role
from waymark.worlds.registry import world_of_task

_REPEATED, _REFUSED, _MISSPELT, _OVERRUN = 3, 4, 3, 12
"""The most attempts of each kind."""
_HOPELESS: Final = (4, 12)
"""The fewest and the most attempts after which an executor gives up."""
_GIVEN_UP: Final = 0.5
"""Share of the misspelt actions that an executor gives up, and share of these that are the right action itself."""
_MALFORMED: Final = 0.3
"""Share of the refused sub-goals whose name is a word of the scene."""
_TRIES: Final = 8
"""Foreign sub-goals that are looked at for one that cannot be reached here."""

_Foreign = tuple[str, str]
"""A sub-goal and its first action."""


@dataclass(frozen=True)
class _Walked:
    """A path, and what the attempts on it are made of."""

    world: AgentWorld
    training_world: TrainingWorld
    foreign: Sequence[_Foreign]
    rng: random.Random
    share: float

    def due(self) -> bool:
        """Whether an attempt is put in here."""
        return self.rng.random() < self.share

    def branch(self, state: AgentState) -> StateFold:
        """A history that goes its own way from here."""
        return StateFold(state, self.world)

    def is_repeatable(self, text: str) -> bool:
        """Whether a sub-goal or an action is meant to be repeated."""
        return text.startswith(self.world.repeatable)

    def fail(self, fold: StateFold, action: str, answer: str, times: int) -> None:
        """An action that changes nothing, so many times."""
        for _ in range(times):
            state = fold.state
            fold.act(action, answer, state.look, state.inventory, state.score)

    def give_refused(self, fold: StateFold) -> bool:
        """Give a sub-goal that cannot be reached here, and its action; whether there is such a sub-goal."""
        for subgoal, action in self.rng.choices(self.foreign, k=_TRIES) if self.foreign else ():
            is_malformed = self.rng.random() < _MALFORMED
            given, tried = self._malformed(subgoal, fold.state) if is_malformed else (subgoal, action)
            if self.training_world.is_out_of_sight(given, fold.state):
                fold.give_subgoal(given)
                self.fail(fold, tried, self.training_world.refusal, self.rng.randint(1, _REFUSED))
                return True
        return False

    def _malformed(self, subgoal: str, state: AgentState) -> _Foreign:
        name = self.rng.choice([word for word in state.look.lower().split() if word.isalpha()] or ["that"])
        rest = subgoal.partition("(")[2].removesuffix(")")
        return f"{name}({rest})", f"{name} {rest.replace(', ', ' to ')}".strip()

    def misspelt(self, action: str, state: AgentState) -> str:
        """The action with a word left out, or another word of the scene in its place."""
        words = action.split()
        at = self.rng.randrange(1, len(words))
        other = self.rng.choice(state.look.lower().split() or ["that"])
        return " ".join([*words[:at], *([other] if self.rng.random() < 0.5 else []), *words[at + 1 :]])


def decisions_after_failures(
    trajectories: Iterable[Trajectory],
    annotations: Mapping[PathKey, Annotation],
    role: Role,
    share: float,
    training_world: TrainingWorld,
) -> Iterator[tuple[Trajectory, Decision]]:
    """The decisions of one role along these paths that follow a failed attempt; `share` of all have one before them.

    The same paths and share give the same decisions. Detours are history, as in `training.datasets.decisions`. Paths
    that begin with an agent's own turns are left out: their failures are real.
    """
    paths = [path for path in trajectories if not path.begins_with_own_turns]
    foreign = _foreign(paths, annotations)
    for path in paths:
        rng = random.Random(f"failed attempts {role} {path.task_id} {path.variation} {path.take}")
        world = world_of_task(path.task_id).agent
        walked = _Walked(world, training_world, foreign[path.task_id], rng, share)
        for decision in _ROLES[role](path, annotations[path.key], walked):
            yield path, decision


def _foreign(paths: Sequence[Trajectory], annotations: Mapping[PathKey, Annotation]) -> dict[str, list[_Foreign]]:
    """The sub-goals of each task type with their first actions."""
    by_task: defaultdict[str, dict[_Foreign, None]] = defaultdict(dict)
    for path in paths:
        for segment in annotations[path.key].segments:
            if segment.stop > segment.start and not on_detour(path, segment):
                by_task[path.task_id][segment.subgoal, path.steps[segment.start].action] = None
    return defaultdict(list, {task: list(subgoals) for task, subgoals in by_task.items()})


def _of_controller(path: Trajectory, annotation: Annotation, walked: _Walked) -> Iterator[Decision]:
    fold = StateFold.start(path.task, path.look, path.inventory, walked.world)
    before: tuple[str, RecordedStep] | None = None
    for segment in annotation.segments:
        if not on_detour(path, segment) and walked.due():
            branch = walked.branch(fold.state)
            if before and not walked.is_repeatable(before[0]) and walked.rng.random() < 0.5:
                for _ in range(walked.rng.randint(1, _REPEATED)):
                    branch.give_subgoal(before[0])
                    walked.fail(branch, before[1].action, before[1].observation, walked.rng.randint(0, 1))
                    branch.end_subgoal()
                yield Decision(branch.state, segment.subgoal)
            elif walked.give_refused(branch):
                branch.end_subgoal()
                yield Decision(branch.state, segment.subgoal)
        fold.give_subgoal(segment.subgoal)
        for step in path.steps[segment.start : segment.stop]:
            take_turn(fold, step)
            before = segment.subgoal, step
        fold.end_subgoal()


def _of_executor(path: Trajectory, annotation: Annotation, walked: _Walked) -> Iterator[Decision]:
    fold = StateFold.start(path.task, path.look, path.inventory, walked.world)
    for segment in annotation.segments:
        detour, steps = on_detour(path, segment), path.steps[segment.start : segment.stop]
        if not detour and walked.due():
            branch = walked.branch(fold.state)
            if walked.give_refused(branch):
                yield Decision(branch.state, None)
        fold.give_subgoal(segment.subgoal)
        for step in steps:
            if not detour and walked.due():
                gives_up = walked.rng.random() < _GIVEN_UP
                yield from _after_misspelling(fold.state, step.action, walked, gives_up=gives_up)
            take_turn(fold, step)
        more = segment.stop < len(path.steps) and segment.subgoal != COMPLETE
        if steps and more and not detour and walked.due():
            branch = walked.branch(fold.state)
            walked.fail(branch, steps[-1].action, steps[-1].observation, walked.rng.randint(1, _OVERRUN))
            yield Decision(branch.state, None)
        fold.end_subgoal()


def _of_flat(path: Trajectory, annotation: Annotation, walked: _Walked) -> Iterator[Decision]:
    fold = StateFold.start(path.task, path.look, path.inventory, walked.world)
    for segment in annotation.segments:
        detour = on_detour(path, segment)
        for step in path.steps[segment.start : segment.stop]:
            if not detour and walked.due():
                yield from _after_misspelling(fold.state, step.action, walked)
            take_turn(fold, step)


def _of_first(path: Trajectory, annotation: Annotation, walked: _Walked) -> Iterator[Decision]:  # noqa: ARG001
    yield from ()  # nothing comes before the first decision


def _after_misspelling(
    state: AgentState, action: str, walked: _Walked, *, gives_up: bool = False
) -> Iterator[Decision]:
    if len(action.split()) < 2:
        return
    is_right = gives_up and walked.rng.random() < _GIVEN_UP
    tried = action if is_right else walked.misspelt(action, state)
    if is_right or tried != action:
        branch = walked.branch(state)
        times = walked.rng.randint(*_HOPELESS) if gives_up else walked.rng.randint(1, _MISSPELT)
        walked.fail(branch, tried, walked.training_world.refusal, times)
        yield Decision(branch.state, None if gives_up else action)


_ROLES: Final[Mapping[Role, Callable[[Trajectory, Annotation, _Walked], Iterator[Decision]]]] = {
    "controller": _of_controller,
    "first": _of_first,
    "executor": _of_executor,
    "flat": _of_flat,
}
