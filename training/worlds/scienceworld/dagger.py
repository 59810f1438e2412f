"""Corrections: paths on which a trained agent goes astray and the scripted expert then continues to the goal.

Solved paths contain only states on the way to the goal. An agent's own mistakes lead it to states that it has never
seen (Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", AISTATS
2011: DAgger). So the agent plays training variations (`rollouts`); an episode that it does not solve is played anew up
to some of its turns, and from there `training.worlds.scienceworld.expert` takes over. What the agent did is recorded
as `detour`, so it is history and never an answer; a path is kept only if it reaches 100.

The history is the agent's own, as it was when the agent played: with its sub-goals, with the sub-goals that it ended
without an action, and with the actions that the simulator did not know. The expert takes over where a model is asked
what to do next: between two sub-goals, or where an action led nowhere. There the executor learns to end its sub-goal,
unless the expert follows the same one (`training.datasets.decisions`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.local_agent import open_agent
from training.trajectories import RecordedStep, Trajectory, Wanted
from training.worlds.base import TrainedAgent
from training.worlds.scienceworld.expert import MISPLACED, SCRIPTED_EXPERTS, Solved, Unsolved, Walk
from training.worlds.scienceworld.paths import Recorder, begin
from training.worlds.scienceworld.rollouts import AlteredEnvironment, Rollouts, altered, play_rollout, spread
from waymark.agent.model_ports import Controller, Executor
from waymark.contracts import Limits
from waymark.worlds.base import SOLVED
from waymark.worlds.scienceworld.rules.subgoal_rules import SubgoalOver

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

FIRST_TAKE = 1_000
"""The takes from this number on are corrections of the first agent, those from 2,000 on of the next one, and so on."""
_LIMITS = Limits(moves=100, turns=120, patience=25)
_LONGEST = 90
"""Largest number of the agent's turns that are replayed."""
_CUTS = 3
"""Number of places in one episode from which the expert continues."""
_ALIKE = (1, 2, 3, 5, 8, 12)
"""After so many turns with the same action, sub-goal and result the expert may take over. After twelve a prompt shows
nothing else."""
_LATE = 6
"""One of the last so many places is always chosen."""
_WITH_AN_EFFECT = ("pick up ", "open ", "close ", "pour ", "move ", "activate ", "deactivate ", "drop ")
"""Beginnings of actions that an expert takes for what they change."""
_LEFT_OUT = ("7-1", "7-2", "7-3")
"""Task types that are not played: animals with a known lifespan, where a wrong answer ends the episode."""


@dataclass(frozen=True)
class Corrected(Rollouts):
    """A variation that the agent is to play, and on which it is corrected."""

    gold_actions: int = 0
    """Length of the simulator's own path."""


def plan(
    trajectories: Sequence[Trajectory],
    rollouts: int,
    misplaced: int,
    checkpoints: Path,
    agent: TrainedAgent = "hierarchical",
    *,
    without_rules: bool = False,
) -> list[Corrected]:
    """The training variations to play, with their numbers of episodes: `rollouts` episodes of each task, `misplaced` of
    those in `MISPLACED`, spread over its variations. The first episodes of all tasks come first, then the second ones.
    """
    paths = [
        trajectory
        for trajectory in trajectories
        if (trajectory.split, trajectory.take, trajectory.form) == ("train", 0, "direct")
        and trajectory.task_id not in _LEFT_OUT
    ]
    return [
        Corrected.of(path, times, checkpoints, agent, without_rules=without_rules, gold_actions=path.gold_actions)
        for path, times in spread(paths, lambda task: misplaced if task in MISPLACED else rollouts)
    ]


def first_take(rounds: int) -> int:
    """The first take of the corrections of an agent, given the number of agents corrected before."""
    return FIRST_TAKE * (rounds + 1)


def numbered(rows: Iterable[dict[str, Any]], rounds: int) -> Iterator[dict[str, Any]]:
    """The rows of a parts file with new take numbers, different from those of earlier agents, because the data of all
    rounds are used.
    """
    return (row | {"take": row["take"] + FIRST_TAKE * rounds} if "take" in row else row for row in rows)


def correct(slot: ScienceWorldSlot, wanted: Wanted) -> list[Trajectory]:
    """The corrections of one variation that reach 100."""
    assert isinstance(wanted, Corrected)
    return corrections(slot, wanted, *open_agent(wanted.checkpoints, wanted.agent))


def corrections(
    slot: ScienceWorldSlot, wanted: Corrected, controller: Controller | None, executor: Executor
) -> list[Trajectory]:
    """The corrections of this agent's episodes: up to three paths that reach 100 for each episode that it does not
    solve.
    """
    paths: list[Trajectory] = []
    for number, environment in enumerate(altered(slot, wanted)):
        turns = _mistaken(environment, wanted, controller, executor)[:_LONGEST]
        takes = (
            _from_here(slot, wanted, environment.room, turns[:length], FIRST_TAKE + number * _CUTS + place)
            for place, length in enumerate(_cuts(turns, environment.rng))
        )
        paths += [take for take in takes if take is not None]
    return paths


@dataclass(frozen=True)
class _OwnTurn:
    """A turn of the agent, in the simulator's own words."""

    subgoal: str
    """Empty: the agent has no sub-goals."""
    action: str
    """Empty: the executor ended the sub-goal."""
    known: bool
    observation: str
    scene: tuple[str, str, int]
    """Look, inventory and score after it."""


def _mistaken(
    environment: AlteredEnvironment, wanted: Corrected, controller: Controller | None, executor: Executor
) -> list[_OwnTurn]:
    """The agent's turns, without those from its fatal mistake on. Empty if it solved the episode, or if the thing
    cannot be moved to its new place.

    A text that is no action changes nothing that a model reads, so it is no turn here.
    """
    result = play_rollout(environment, wanted, controller, executor, _LIMITS)
    if result is None or result.raw_score >= SOLVED:
        return []
    own = environment.in_its_own_words
    turns: list[_OwnTurn] = []
    for turn in result.trajectory:
        if SubgoalOver.name in turn.rules and turns and turns[-1].action:  # a rule ended the sub-goal before this turn
            turns.append(replace(turns[-1], action="", known=True, observation=""))
        if turn.score >= 0 and (turn.action is not None or turn.known):
            scene = (own(turn.look), own(turn.inventory), turn.score)
            subgoal, action = own(turn.subgoal or ""), own(turn.action or "")
            turns.append(_OwnTurn(subgoal, action, turn.known, own(turn.observation), scene))
    return turns


def _cuts(turns: Sequence[_OwnTurn], rng: random.Random) -> list[int]:
    """How many turns are replayed before the expert takes over: up to `_CUTS` numbers, ascending.

    One of them is among the last places, where an episode that is lost in a loop enters it.
    """
    places: list[int] = []
    seen: Counter[_OwnTurn] = Counter()
    for length, turn in enumerate(turns, start=1):
        seen[turn] += 1
        leads_nowhere = not turn.known or seen[turn] > 1
        if seen[turn] in _ALIKE and (leads_nowhere or not turn.action or not turn.subgoal):
            places.append(length)
    late = places[-_LATE:]
    chosen = {rng.choice(late)} if late else set()
    others = [place for place in places if place not in chosen]
    return sorted(chosen | set(rng.sample(others, min(_CUTS - 1, len(others)))))


def _from_here(
    slot: ScienceWorldSlot, wanted: Corrected, room: str, turns: Sequence[_OwnTurn], take: int
) -> Trajectory | None:
    """The path that replays the agent's turns and then follows the expert; None if that does not solve the task."""
    try:
        recorder = begin(slot, wanted, wanted.oracle, room)
        walk = Walk(recorder, recorder.opening, wanted.oracle)
        own: list[RecordedStep] = []
        with suppress(Solved):
            own.extend(_replayed(turn, walk, recorder) for turn in turns)
            SCRIPTED_EXPERTS[wanted.task_id](walk)
    except Unsolved:
        return None
    if not walk.solved or walk.taken[-1].is_perturbation:
        return None
    path = recorder.walked(walk, take, room)
    after = path.steps[sum(taken.is_perturbation for taken in walk.taken) :]
    if does_again([*own, *after]):
        return None
    return replace(path, steps=[*own, *after], gold_actions=wanted.gold_actions)


def does_again(steps: Sequence[RecordedStep]) -> bool:
    """Whether an action of the expert changes nothing, such as picking up a thing that is carried."""
    return any(
        not after.detour
        and after.action.startswith(_WITH_AN_EFFECT)
        and (after.look, after.inventory, after.score) == (before.look, before.inventory, before.score)
        for before, after in pairwise(steps)
    )


def _replayed(turn: _OwnTurn, walk: Walk, recorder: Recorder) -> RecordedStep:
    """The agent's turn as it went this time. Raises Unsolved if the simulator does not know its action any more, and
    Solved."""
    if turn.action and turn.known:
        count = len(walk.taken)
        walk.follow([turn.action])
        if len(walk.taken) == count:
            raise Unsolved(f"{turn.action!r} is not known any more")
        return replace(recorder.steps[-1], detour=True, subgoal=turn.subgoal)
    last = recorder.steps[-1] if recorder.steps else None
    return RecordedStep(
        action=turn.action,
        observation=turn.observation,
        look=walk.look,
        inventory=walk.inventory,
        score=last.score if last else 0,
        moves=last.moves if last else 0,
        goals=[],
        detour=True,
        known=turn.known,
        subgoal=turn.subgoal,
    )
