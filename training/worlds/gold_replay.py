"""Plays an environment's own solution again and records it, in any world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.trajectories import RecordedStep, Trajectory, Wanted
from training.worlds.registry import find_task
from waymark.worlds.base import Environment


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent sees after a step (or at the start)."""

    look: str
    inventory: str
    observation: str


def record_gold(environment: Environment, wanted: Wanted) -> list[Trajectory]:
    """Record the simulator's own path of one variation. The simplest recorder that a world can have."""
    gold = environment.gold_path(wanted.task_id, wanted.variation, wanted.simplifications)
    path, _ = play(environment, wanted, gold)
    return [replace(path, gold_actions=len(gold))]


def play(environment: Environment, wanted: Wanted, actions: Sequence[str]) -> tuple[Trajectory, list[Seen]]:
    """The trajectory of a path up to the end of the episode, and what the agent sees after each step.

    Actions that the environment does not know are left out.
    """
    opening = environment.reset(wanted.task_id, wanted.variation, wanted.simplifications)
    steps: list[RecordedStep] = []
    seen = [Seen(opening.look, opening.inventory, "")]
    for action in actions:
        step = environment.step(action)
        if step.known:
            steps.append(RecordedStep(action, step.observation, step.look, step.inventory, step.score, step.moves, []))
            seen.append(Seen(step.look, step.inventory, step.observation))
        if step.completed:
            break
    return Trajectory.of(wanted, find_task(wanted.task_id), opening, steps, form="gold"), seen
