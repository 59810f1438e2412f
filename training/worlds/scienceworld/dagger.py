"""Corrections: paths on which a trained agent goes astray and the scripted expert then continues to the goal.

Solved paths contain only states on the way to the goal. An agent's own mistakes lead it to states that it has never
seen (Ross et al., "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", AISTATS
2011: DAgger). So the agent plays training variations. An episode that it does not solve is played again up to one of
its actions, and from there `training.worlds.scienceworld.expert` continues. The agent's actions are recorded as
`detour`, so they are part of the history and never a target. A path is kept only if it reaches 100.

In half of the episodes the thing that the task names has an unknown name. For tasks in `MISPLACED`, the thing is moved
to another room in half of them. Mistakes on test are mostly about unknown names and places.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from training.trajectories import Trajectory, Wanted
from training.worlds.scienceworld.expert import MISPLACED, ROOMS, SCRIPTED_EXPERTS, Solved, Unsolved, Walk
from training.worlds.scienceworld.paths import begin
from training.worlds.words import made_up
from waymark.agent.episode import run_episode
from waymark.agent.ports import Controller, Executor
from waymark.agent.presets import AGENTS
from waymark.contracts import (
    ActionRequest,
    ActionResponse,
    AgentState,
    DecisionRequest,
    EpisodeSpec,
    Limits,
    Opening,
    Role,
    SubgoalRequest,
    SubgoalResponse,
)
from waymark.inference.batching import Answer
from waymark.inference.checkpoint import load
from waymark.serving.decisions import Decided, Question, action_response, subgoal_response
from waymark.serving.models import ServedModel, open_model
from waymark.serving.settings import ServiceSettings
from waymark.worlds.base import SOLVED, Step

if TYPE_CHECKING:
    from waymark.worlds.scienceworld.environment import ScienceWorldSlot

FIRST_TAKE = 1_000
"""The takes from this number on are corrections of the first agent, those from 2,000 on of the next one, and so on."""
_LIMITS = Limits(moves=100, turns=50, patience=20)
_LONGEST = 40
"""Largest number of the agent's actions that are replayed."""
_CUTS = 3
"""Number of places in one episode from which the expert continues."""
_RENAMED = _MISPLACED = 0.5
_LEFT_OUT = ("3-2", "5-2", "7-1", "7-2", "7-3", "8-1", "8-2", "10-1", "10-2")
"""Task types without corrections: circuits that are moved first, for which the expert begins anew; animals with a known
lifespan; and plants, which grow while the agent goes astray."""
CorrectedAgent = Literal["hierarchical", "flat"]
"""The agent that is corrected. All roles are trained on the paths of a table, so each agent needs a table of its
own."""
_MODELS: Final[Mapping[CorrectedAgent, tuple[Role, ...]]] = {
    "hierarchical": ("controller", "executor"),
    "flat": ("flat",),
}
"""The roles of an agent's checkpoints, which are the names of their folders."""
_NAMED = re.compile(
    r"to (?:boil|melt|freeze|change the state of matter of) ([a-z ]+)\.|"
    r"(?:temperature|melting point) of ([a-z ]+?), which|"
    r"to grow an? ([a-z ]+?)(?: plant from seed)?\.|"
    r"to determine if ([a-z ]+?) is electrically"
)
"""Patterns of the things in task texts that may get another name."""


@dataclass(frozen=True)
class Corrected(Wanted):
    """A variation for the agent to play."""

    oracle: tuple[str, ...] = ()
    """The actions of a path that solves it."""
    gold_actions: int = 0
    """Length of the simulator's own path."""
    rollouts: int = 1
    """Number of episodes to play."""
    checkpoints: str = ""
    """The folder with the checkpoints `controller` and `executor`, or `flat`."""
    agent: CorrectedAgent = "hierarchical"
    """The agent that plays."""
    without_rules: bool = False
    """Whether it plays without any rule of play."""


def plan(
    trajectories: Sequence[Trajectory],
    rollouts: int,
    misplaced: int,
    checkpoints: Path,
    agent: CorrectedAgent = "hierarchical",
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
    chosen = []
    for task in dict.fromkeys(path.task_id for path in paths):
        own = [path for path in paths if path.task_id == task]
        wanted = misplaced if task in MISPLACED else rollouts
        own = own[:: max(1, len(own) // wanted)][:wanted]
        each = -(-wanted // len(own))
        chosen += [(place, one, each) for place, one in enumerate(own)]
    return [
        Corrected(
            task_id=one.task_id,
            variation=one.variation,
            simplifications=one.simplifications,
            oracle=tuple(step.action for step in one.steps if not step.detour),
            gold_actions=one.gold_actions,
            rollouts=each,
            checkpoints=str(checkpoints),
            agent=agent,
            without_rules=without_rules,
        )
        for _, one, each in sorted(chosen, key=lambda found: found[0])
    ]


def checkpoints_used(checkpoints: Path, agent: CorrectedAgent = "hierarchical") -> dict[str, str]:
    """The hashes of the agent's checkpoints, for the manifest."""
    return {name: load(checkpoints / name).sha256 for name in _MODELS[agent]}


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
    found = []
    for number in range(wanted.rollouts):
        rng = random.Random(f"{wanted.task_id} {wanted.variation} {number}")
        room = rng.choice(ROOMS) if wanted.task_id in MISPLACED and rng.random() < _MISPLACED else ""
        taken = _play(Begun(slot, wanted, room, rng), wanted, controller, executor)[:_LONGEST]
        lengths = sorted(rng.sample(range(1, len(taken) + 1), min(_CUTS, len(taken))))
        takes = (
            _from_here(slot, wanted, room, taken[:length], FIRST_TAKE + number * _CUTS + place)
            for place, length in enumerate(lengths)
        )
        found += [take for take in takes if take is not None]
    return found


def _play(environment: Begun, wanted: Corrected, controller: Controller | None, executor: Executor) -> list[str]:
    """The agent's valid actions, without those after its fatal mistake. Empty if it solved the episode, or if the thing
    cannot be moved to its new place."""
    spec = EpisodeSpec(
        id="rollout",
        evaluation="corrections",
        task=wanted.task_id,
        variation=wanted.variation,
        simplifications=wanted.simplifications,
        seed=0,
        agent=AGENTS[wanted.agent].model_copy(update={"rules": () if wanted.without_rules else None}),
        limits=_LIMITS,
    )
    try:
        result = anyio.run(run_episode, spec, environment, controller, executor)
    except Unsolved:
        return []
    if result.raw_score >= SOLVED:
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


class Begun:
    """An environment in which a thing may be moved and renamed before the episode begins."""

    def __init__(self, slot: ScienceWorldSlot, wanted: Corrected, room: str, rng: random.Random) -> None:
        self._slot = slot
        self._wanted = wanted
        self._room = room
        self._rng = rng
        self._name = self._called = ""
        self.taken: list[str] = []
        """The actions that were understood, in the simulator's own words."""

    def reset(self, task_id: str, variation: int, simplifications: str) -> Opening:
        """Begin the episode."""
        assert (task_id, variation, simplifications) == astuple(self._wanted)[:3]
        opening = begin(self._slot, self._wanted, self._wanted.oracle, self._room).opening
        named = _NAMED.search(opening.task)
        if named and "unknown" not in named[0] and self._rng.random() < _RENAMED:
            self._name, self._called = next(filter(None, named.groups())), made_up(self._rng)
        tell = self._tell
        return Opening(task=tell(opening.task), look=tell(opening.look), inventory=tell(opening.inventory))

    def step(self, action: str) -> Step:
        """Take one action."""
        action = self._said(action, self._called, self._name)
        step = self._slot.step(action)
        if step.known:
            self.taken.append(action)
        tell = self._tell
        return replace(step, observation=tell(step.observation), look=tell(step.look), inventory=tell(step.inventory))

    def valid_actions(self) -> list[str]:
        """Every action that the simulator would accept now, with the changed names."""
        return [self._tell(action) for action in self._slot.valid_actions()]

    def gold_path(self, task_id: str, variation: int, simplifications: str) -> list[str]:
        """The simulator's own solution."""
        return self._slot.gold_path(task_id, variation, simplifications)

    def close(self) -> None:
        """End the simulator."""
        self._slot.close()

    def _tell(self, text: str) -> str:
        return self._said(text, self._name, self._called)

    def _said(self, text: str, old: str, new: str) -> str:
        return re.sub(rf"\b{re.escape(old)}\b", new, text) if old else text


@cache
def open_agent(checkpoints: str, agent: CorrectedAgent) -> tuple[Controller | None, Executor]:
    """The agent of a folder, opened once in each process."""
    settings = ServiceSettings(threads=1)
    models = [open_model(Path(checkpoints) / role, role, settings) for role in _MODELS[agent]]
    return _Controller(models[0]) if agent == "hierarchical" else None, _Executor(models[-1])


def _decide(model: ServedModel, request: DecisionRequest) -> Decided:
    """The answers that the model would give as a service."""
    question = Question(model, request)
    query = question.work.write()
    if query.candidates is None:
        (generation,) = model.generator.generate([query.prompt], n=query.n)
    else:
        (generation,) = model.generator.score([query.prompt], [query.candidates], n=query.n)
    return question.read(Answer(query, generation, queue_ms=0.0, tokenise_ms=0.0, model_ms=0.0))


@dataclass(frozen=True)
class _Controller:
    """A controller in this process."""

    _model: ServedModel

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        return subgoal_response(_decide(self._model, SubgoalRequest(state=state, n=n, model=model)))


@dataclass(frozen=True)
class _Executor:
    """An executor in this process."""

    _model: ServedModel

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        asked = None if valid_actions is None else tuple(valid_actions)
        return action_response(_decide(self._model, ActionRequest(state=state, n=n, model=model, valid_actions=asked)))
