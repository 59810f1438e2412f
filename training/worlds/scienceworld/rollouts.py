"""Rollouts: episodes of training variations that a trained agent plays, so that its own episodes become data.

Four of five call what the task names by a word that nobody knows. Where a task has such a thing (`MISPLACED`), half of
them begin with the thing carried to another room: mistakes on test are those about strange names and places.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from training.trajectories import Trajectory, Wanted
from training.worlds.base import TrainedAgent
from training.worlds.made_up_words import made_up
from training.worlds.scienceworld.expert import MISPLACED, ROOMS, Unsolved
from training.worlds.scienceworld.paths import begin
from waymark.agent.episode_loop import run_episode
from waymark.agent.model_ports import Controller, Executor
from waymark.agent.named_agents import AGENTS
from waymark.contracts import EpisodeResult, EpisodeSpec, Limits, Opening
from waymark.worlds.base import Step

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

_RENAMED: Final = 0.8
_MISPLACED: Final = 0.5
"""Probabilities."""
_NAMED: Final = re.compile(
    r"to (?:boil|melt|freeze|change the state of matter of) ([a-z ]+)\.|"
    r"(?:temperature|melting point) of ([a-z ]+?), which|"
    r"to grow an? ([a-z ]+?)(?: plant from seed)?\.|"
    r"to determine if ([a-z ]+?) is electrically|"
    r"life stages of the ([a-z ]+?), starting"
)
"""Patterns of the things in task texts that may get another name."""


@dataclass(frozen=True)
class Rollouts(Wanted):
    """A variation for the agent to play."""

    oracle: tuple[str, ...] = ()
    """The actions of a path that solves it."""
    rollouts: int = 1
    """How many episodes are played."""
    checkpoints: str = ""
    """The folder with the checkpoints `controller` and `executor`, or `flat`."""
    agent: TrainedAgent = "hierarchical"
    """Who plays."""
    without_rules: bool = False
    """Whether it plays without any rule of play."""

    @classmethod
    def of(
        cls,
        path: Trajectory,
        rollouts: int,
        checkpoints: Path,
        agent: TrainedAgent,
        *,
        without_rules: bool,
        **more: Any,
    ) -> Self:
        """Rollouts of the variation that a path solves; `more` are fields of the subclass."""
        return cls(
            task_id=path.task_id,
            variation=path.variation,
            simplifications=path.simplifications,
            oracle=tuple(step.action for step in path.steps if not step.detour),
            rollouts=rollouts,
            checkpoints=str(checkpoints),
            agent=agent,
            without_rules=without_rules,
            **more,
        )


def spread(paths: Sequence[Trajectory], episodes: Callable[[str], int]) -> list[tuple[Trajectory, int]]:
    """Paths whose variations are played, and how often each, so that a task type gets at least `episodes(task id)`.

    They are spread over the variations of the task type, at most one episode more than needed each. Every task type's
    first variation comes first, then every task type's second.
    """
    chosen: list[tuple[int, Trajectory, int]] = []
    for task in dict.fromkeys(path.task_id for path in paths):
        of_task = [path for path in paths if path.task_id == task]
        wanted = episodes(task)
        of_task = of_task[:: max(1, len(of_task) // wanted)][:wanted]
        times = -(-wanted // len(of_task))
        chosen += [(place, path, times) for place, path in enumerate(of_task)]
    return [(path, times) for _, path, times in sorted(chosen, key=lambda entry: entry[0])]


class AlteredEnvironment:
    """An environment in which a thing may be moved and renamed before the episode begins."""

    def __init__(self, slot: ScienceWorldSlot, wanted: Rollouts, room: str, rng: random.Random) -> None:
        self._slot = slot
        self._wanted = wanted
        self.room = room
        """Where the thing is carried; empty: it lies where it lies."""
        self.rng = rng
        """Of this episode."""
        self._name = self._called = ""
        self.taken: list[str] = []
        """The actions that were understood, in the simulator's own words."""

    def reset(self, task_id: str, variation: int, simplifications: str) -> Opening:
        """Begin the episode. Raises Unsolved where the thing cannot be carried to its room."""
        assert (task_id, variation, simplifications) == astuple(self._wanted)[:3]
        opening = begin(self._slot, self._wanted, self._wanted.oracle, self.room).opening
        named = _NAMED.search(opening.task)
        if named and "unknown" not in named[0] and self.rng.random() < _RENAMED:
            self._name, self._called = next(filter(None, named.groups())), made_up(self.rng)
        task, look, inventory = map(self._shown, (opening.task, opening.look, opening.inventory))
        return Opening(task=task, look=look, inventory=inventory)

    def step(self, action: str) -> Step:
        """Take one action."""
        action = self.in_its_own_words(action)
        step = self._slot.step(action)
        if step.known:
            self.taken.append(action)
        observation, look, inventory = map(self._shown, (step.observation, step.look, step.inventory))
        return replace(step, observation=observation, look=look, inventory=inventory)

    def valid_actions(self) -> list[str]:
        """Every action that the simulator would accept now, with the changed names."""
        return [self._shown(action) for action in self._slot.valid_actions()]

    def gold_path(self, task_id: str, variation: int, simplifications: str) -> list[str]:
        """The simulator's own solution."""
        return self._slot.gold_path(task_id, variation, simplifications)

    def close(self) -> None:
        """End the simulator."""
        self._slot.close()

    def in_its_own_words(self, text: str) -> str:
        """A text of the agent, with the thing's own name in place of the changed one."""
        return _replaced(text, self._called, self._name)

    def _shown(self, text: str) -> str:
        return _replaced(text, self._name, self._called)


def _replaced(text: str, old: str, new: str) -> str:
    return re.sub(rf"\b{re.escape(old)}\b", new, text) if old else text


def altered(slot: ScienceWorldSlot, wanted: Rollouts, seed: str = "") -> Iterator[AlteredEnvironment]:
    """The environment of each rollout; names and places are drawn from the variation, its number and `seed`."""
    for number in range(wanted.rollouts):
        rng = random.Random(f"{seed}{wanted.task_id} {wanted.variation} {number}")
        room = rng.choice(ROOMS) if wanted.task_id in MISPLACED and rng.random() < _MISPLACED else ""
        yield AlteredEnvironment(slot, wanted, room, rng)


def play_rollout(
    environment: AlteredEnvironment, wanted: Rollouts, controller: Controller | None, executor: Executor, limits: Limits
) -> EpisodeResult | None:
    """The episode that the agent plays; None where the thing cannot be carried to where it was to lie."""
    spec = EpisodeSpec(
        id="rollout",
        evaluation="rollouts",
        task=wanted.task_id,
        variation=wanted.variation,
        options=wanted.simplifications,
        seed=0,
        agent=AGENTS[wanted.agent].model_copy(update={"rules": () if wanted.without_rules else None}),
        limits=limits,
    )
    try:
        return anyio.run(run_episode, spec, environment, controller, executor)
    except Unsolved:
        return None
