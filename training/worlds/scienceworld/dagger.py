"""Corrections: paths on which a trained agent goes astray and the scripted expert then continues to the goal.

Solved paths contain only states on the way to the goal. An agent's own mistakes lead it to states that it has never
seen (Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", AISTATS
2011: DAgger). So the agent plays training variations (`rollouts`); an episode that it does not solve is played anew up
to some of its actions, and from there `training.worlds.scienceworld.expert` takes over. What the agent did is recorded
as `detour`, so it is history and never an answer; a path is kept only if it reaches 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.local_agent import open_agent
from training.trajectories import Trajectory, Wanted
from training.worlds.base import TrainedAgent
from training.worlds.scienceworld.expert import MISPLACED, SCRIPTED_EXPERTS, Solved, Unsolved, Walk
from training.worlds.scienceworld.paths import begin
from training.worlds.scienceworld.rollouts import AlteredEnvironment, Rollouts, altered, play_rollout, spread
from waymark.agent.model_ports import Controller, Executor
from waymark.contracts import Limits
from waymark.worlds.base import SOLVED

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

FIRST_TAKE = 1_000
"""The takes from this number on are corrections of the first agent, those from 2,000 on of the next one, and so on."""
_LIMITS = Limits(moves=100, turns=50, patience=20)
_LONGEST = 40
"""Largest number of the agent's actions that are replayed."""
_CUTS = 3
"""Number of places in one episode from which the expert continues."""
_LEFT_OUT = ("3-2", "5-2", "7-1", "7-2", "7-3", "8-1", "8-2", "10-1", "10-2")
"""Task types without corrections: circuits that are moved first, for which the expert begins anew; animals with a known
lifespan; and plants, which grow while the agent goes astray."""


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
        taken = _mistaken(environment, wanted, controller, executor)[:_LONGEST]
        lengths = sorted(environment.rng.sample(range(1, len(taken) + 1), min(_CUTS, len(taken))))
        takes = (
            _from_here(slot, wanted, environment.room, taken[:length], FIRST_TAKE + number * _CUTS + place)
            for place, length in enumerate(lengths)
        )
        paths += [take for take in takes if take is not None]
    return paths


def _mistaken(
    environment: AlteredEnvironment, wanted: Corrected, controller: Controller | None, executor: Executor
) -> list[str]:
    """The agent's valid actions, without those after its fatal mistake. Empty if it solved the episode, or if the thing
    cannot be moved to its new place."""
    result = play_rollout(environment, wanted, controller, executor, _LIMITS)
    if result is None or result.raw_score >= SOLVED:
        return []
    return environment.taken[:-1] if result.raw_score < 0 else environment.taken


def _from_here(
    slot: ScienceWorldSlot, wanted: Corrected, room: str, actions: Sequence[str], take: int
) -> Trajectory | None:
    """The path that replays the agent's actions so far and then follows the expert; None if that does not solve the
    task.
    """
    try:
        recorder = begin(slot, wanted, wanted.oracle, room)
        walk = Walk(recorder, recorder.opening, wanted.oracle)
        with suppress(Solved):
            walk.follow(actions)
            SCRIPTED_EXPERTS[wanted.task_id](walk)
    except Unsolved:
        return None
    if not walk.solved or walk.taken[-1].is_perturbation:
        return None
    return replace(recorder.walked(walk, take, room), gold_actions=wanted.gold_actions)
