"""Expert iteration: an agent's own solved episodes become data (Anthony et al., "Thinking Fast and Slow with Deep
Learning and Tree Search", NeurIPS 2017, without the search: sampling takes its place).

Each training variation is played several times (`rollouts`). Decisions are drawn among the model's best, by their
probability, so that episodes differ. Of the episodes that reach 100 the shortest is kept, if it is shorter than the
path that the data hold for that variation and place. Its sub-goals are those that the annotator reads in its actions,
as for all paths.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from training.local_agent import open_agent
from training.trajectories import Trajectory, Wanted
from training.worlds.base import TrainedAgent
from training.worlds.scienceworld.dagger import FIRST_TAKE
from training.worlds.scienceworld.expert import Unsolved
from training.worlds.scienceworld.paths import begin
from training.worlds.scienceworld.rollouts import AlteredEnvironment, Rollouts, altered, play_rollout, spread
from waymark.agent.model_ports import Controller, Executor
from waymark.contracts import (
    ActionAlternative,
    ActionResponse,
    AgentState,
    Limits,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.worlds.base import SOLVED

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

SELF_PLAY: Final = 500
"""Takes from here on, up to those of corrections, are an agent's own solved episodes."""
DRAWN: Final = 4
"""Alternatives that a decision is drawn from."""
_LIMITS: Final = Limits(moves=100, turns=200, patience=50)


@dataclass(frozen=True)
class Played(Rollouts):
    """A variation for the agent to play."""

    temperature: float = 1.0
    """Above 0. Decisions are drawn with probability p^(1/temperature)."""
    known_length: int = 0
    """Actions of the path that the data hold for it; 0: none."""


def plan(
    trajectories: Sequence[Trajectory],
    rollouts: int,
    most: int,
    checkpoints: Path,
    agent: TrainedAgent,
    *,
    temperature: float,
    without_rules: bool,
) -> list[Played]:
    """At most `most` training variations of each task type, spread over those with a path, all alike often."""
    paths = [trajectory for trajectory in trajectories if (trajectory.split, trajectory.take) == ("train", 0)]
    return [
        Played.of(
            path,
            rollouts,
            checkpoints,
            agent,
            without_rules=without_rules,
            temperature=temperature,
            known_length=len(path.steps),
        )
        for path, _ in spread(paths, lambda _: most)
    ]


def is_own(trajectory: Trajectory) -> bool:
    """Whether a path is an agent's own solved episode."""
    return SELF_PLAY <= trajectory.take < FIRST_TAKE


def play(slot: ScienceWorldSlot, wanted: Wanted) -> list[Trajectory]:
    """The shortest solved episodes of one variation."""
    assert isinstance(wanted, Played)
    return shortest(slot, wanted, *open_agent(wanted.checkpoints, wanted.agent))


def shortest(
    slot: ScienceWorldSlot, wanted: Played, controller: Controller | None, executor: Executor
) -> list[Trajectory]:
    """The shortest solved episode for each place where the thing lay, if it is shorter than the known path.

    Of what lies elsewhere no path is known, so the shortest is kept in any case.
    """
    best: dict[str, Trajectory] = {}
    for environment in altered(slot, wanted, "self-play "):
        room = environment.room
        solved = _solved(environment, slot, wanted, controller, executor)
        known = best.get(room)
        if solved is not None and (known is None or len(solved.steps) < len(known.steps)):
            best[room] = solved
    if "" in best and 0 < wanted.known_length <= len(best[""].steps):
        del best[""]
    return [replace(path, take=SELF_PLAY + place) for place, path in enumerate(best.values())]


def _solved(
    environment: AlteredEnvironment,
    slot: ScienceWorldSlot,
    wanted: Played,
    controller: Controller | None,
    executor: Executor,
) -> Trajectory | None:
    """One episode, played with drawn decisions and recorded again by its actions alone; None if it did not solve."""
    rng, temperature = environment.rng, wanted.temperature
    drawn_controller = controller and DrawnController(controller, rng, temperature)
    drawn_executor = DrawnExecutor(executor, rng, temperature)
    result = play_rollout(environment, wanted, drawn_controller, drawn_executor, _LIMITS)
    if result is None or result.raw_score < SOLVED:
        return None
    try:
        recorder = begin(slot, wanted, wanted.oracle, environment.room)
    except Unsolved:  # carrying the thing there worked once, but not twice
        return None
    for action in environment.taken:
        if recorder.step(action).score >= SOLVED:
            return replace(recorder.trajectory("direct", recorder.steps), misplaced=environment.room)
    return None  # solved by luck that did not come twice


_Alternative = TypeVar("_Alternative", SubgoalAlternative, ActionAlternative)


def drawn_first(
    alternatives: Sequence[_Alternative], rng: random.Random, temperature: float
) -> tuple[_Alternative, ...]:
    """The same alternatives, one that can be read drawn by its probability and put first."""
    readable = [alternative for alternative in alternatives if alternative.parsed]
    if len(readable) < 2:
        return tuple(alternatives)
    best = max(alternative.logprob for alternative in readable)
    weights = [math.exp((alternative.logprob - best) / temperature) for alternative in readable]
    (drawn,) = rng.choices(readable, weights)
    return tuple(sorted(alternatives, key=lambda alternative: alternative is not drawn))


@dataclass(frozen=True)
class DrawnController:
    """A controller whose answer is drawn among its best."""

    _inner: Controller
    _rng: random.Random
    _temperature: float

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """As the controller's, with a drawn alternative first; as many alternatives as were asked for."""
        answer = await self._inner.subgoal(state, n=max(n, DRAWN), model=model)
        ordered = drawn_first(answer.alternatives, self._rng, self._temperature)[:n]
        first = {name: getattr(ordered[0], name) for name in ("subgoal", "parsed", "raw")} if ordered else {}
        return answer.model_copy(update={"alternatives": ordered, **first})


@dataclass(frozen=True)
class DrawnExecutor:
    """An executor whose answer is drawn among its best."""

    _inner: Executor
    _rng: random.Random
    _temperature: float

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """As the executor's, with a drawn alternative first. What is weighed among valid actions is not drawn."""
        if valid_actions is not None:
            return await self._inner.action(state, n=n, model=model, valid_actions=valid_actions)
        answer = await self._inner.action(state, n=max(n, DRAWN), model=model)
        ordered = drawn_first(answer.alternatives, self._rng, self._temperature)[:n]
        names = ("action", "ended_subgoal", "parsed", "raw")
        first = {name: getattr(ordered[0], name) for name in names} if ordered else {}
        return answer.model_copy(update={"alternatives": ordered, **first})
