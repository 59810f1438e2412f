"""How the models' best answers may be chosen without rules of play: greedily, by beam search, at random, or reranked.

    python -m benchmarks.choices --fold 0 --ways greedy,beam,drawn-0.5,drawn-1,executor,flat --variations 3

    greedy      the best answer of greedy decoding, as agents without rules do
    beam        the most likely of five answers that beam search finds
    drawn-T     drawn among the best four with probability p^(1/T), controller and executor alike
    executor    of the controller's best four the sub-goal g with the highest log p(g) + log p(a | g), where a is the
                executor's best action for g; an executor that ends g at once has its best other action counted
    flat        the same with log p(a) by the flat model, which sees no sub-goal, in place of log p(a | g)

No rule of play acts, unless --rules all. Each way plays the same training variations of a fold, one after another in
this process, with limits as in `benchmarks.ablation`. Intervals are over things; each difference is paired with
the first way. Finished episodes are kept in --keep, and the same command resumes.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.ablation import Chosen, Scores, by_things
from training.local_agent import open_agent
from training.trajectories import read_table
from training.worlds.registry import training_world
from training.worlds.scienceworld.self_play import DrawnController, DrawnExecutor
from waymark.agent.episode_loop import run_episode
from waymark.agent.model_ports import Controller, Executor
from waymark.agent.named_agents import AGENTS
from waymark.agent.state import StateFold
from waymark.contracts import (
    ActionResponse,
    AgentState,
    EpisodeResult,
    EpisodeSpec,
    Limits,
    SubgoalAlternative,
    SubgoalResponse,
)
from waymark.errors import EnvironmentFault, InvalidInput
from waymark.evaluation.intervals_over_things import mean_over_things, over_things
from waymark.evaluation.requested_episodes import TURNS_PER_MOVE
from waymark.worlds.base import Environment, EnvironmentLimits
from waymark.worlds.registry import get_world

_BEAMS, _RERANKED = 5, 4
_MOVES, _PATIENCE = 100, 50
_WORLD: Final = get_world("scienceworld")
_SIMPLIFICATIONS = "easy"


@dataclass(frozen=True)
class BeamController:
    """A controller that is asked for five answers."""

    _inner: Controller

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """As the controller's best of at least five."""
        return await self._inner.subgoal(state, n=max(n, _BEAMS), model=model)


@dataclass(frozen=True)
class BeamExecutor:
    """An executor that is asked for five answers."""

    _inner: Executor

    async def action(
        self, state: AgentState, *, n: int = 1, model: str = "default", valid_actions: Sequence[str] | None = None
    ) -> ActionResponse:
        """As the executor's best of at least five."""
        return await self._inner.action(
            state, n=max(n, _BEAMS) if valid_actions is None else n, model=model, valid_actions=valid_actions
        )


@dataclass(frozen=True)
class RerankedController:
    """A controller whose best answers are ordered by what another model thinks of the action that each leads to."""

    _inner: Controller
    _executor: Executor
    _flat: Executor | None = None
    """None: the executor's own log-probability counts."""

    async def subgoal(self, state: AgentState, *, n: int = 1, model: str = "default") -> SubgoalResponse:
        """The controller's best of four, the most likely together with its action first."""
        answer = await self._inner.subgoal(state, n=max(n, _RERANKED), model=model)
        readable = [alternative for alternative in answer.alternatives if alternative.parsed]
        if len(readable) < 2:
            return answer
        actions = [await self._first_action(state, alternative) for alternative in readable]
        scores = await self._action_scores(state, actions)
        order = sorted(range(len(readable)), key=lambda place: -(readable[place].logprob + scores[place]))
        ordered = [readable[place] for place in order]
        return answer.model_copy(
            update={
                "alternatives": tuple(ordered),
                "subgoal": ordered[0].subgoal,
                "parsed": True,
                "raw": ordered[0].raw,
            }
        )

    async def _first_action(self, state: AgentState, alternative: SubgoalAlternative) -> tuple[str | None, float]:
        """The executor's best action for a sub-goal, and its log-probability; None where it has none."""
        fold = StateFold(state)
        fold.give_subgoal(alternative.subgoal)
        answer = await self._executor.action(fold.state, n=2)
        best = [
            (decision.action, decision.logprob)
            for decision in answer.alternatives
            if decision.parsed and decision.action
        ]
        return best[0] if best else (None, -100.0)

    async def _action_scores(self, state: AgentState, actions: Sequence[tuple[str | None, float]]) -> list[float]:
        if self._flat is None:
            return [logprob for _, logprob in actions]
        named = sorted({action for action, _ in actions if action})
        if not named:
            return [0.0] * len(actions)
        flat_state = state.model_copy(update={"current_subgoal": None, "completed_subgoals": (), "subgoal_step": None})
        try:
            answer = await self._flat.action(flat_state, n=len(named), valid_actions=named)
        except InvalidInput:  # an action that the format cannot write
            return [0.0] * len(actions)
        likely = {alternative.action: alternative.logprob for alternative in answer.alternatives}
        return [likely.get(action, -100.0) if action else -100.0 for action, _ in actions]


def chosen_ports(way: str, checkpoints: Path, rng: random.Random) -> tuple[Controller, Executor]:
    """The agent's ports when it chooses that way. Raises InvalidInput for an unknown way."""
    controller, executor = open_agent(str(checkpoints), "hierarchical")
    assert controller is not None
    kind, _, figure = way.partition("-")
    match kind:
        case "greedy":
            return controller, executor
        case "beam":
            return BeamController(controller), BeamExecutor(executor)
        case "drawn":
            temperature = float(figure or 1)
            return DrawnController(controller, rng, temperature), DrawnExecutor(executor, rng, temperature)
        case "executor":
            return RerankedController(controller, executor), executor
        case "flat":
            return RerankedController(controller, executor, open_agent(str(checkpoints), "flat")[1]), executor
    raise InvalidInput(
        f"There is no way {way!r}.", remedy="Ways are greedy, beam, drawn-T, executor and flat.", field="ways"
    )


def play(slot: Environment, way: str, task: str, variation: int, checkpoints: Path, rules: bool) -> EpisodeResult:
    """One episode."""
    spec = EpisodeSpec(
        id="choices",
        evaluation="choices",
        task=task,
        variation=variation,
        options=_SIMPLIFICATIONS,
        seed=0,
        agent=AGENTS["hierarchical"].model_copy(update={"rules": None if rules else ()}),
        limits=Limits(moves=_MOVES, turns=TURNS_PER_MOVE * _MOVES, patience=_PATIENCE),
    )
    ports = chosen_ports(way, checkpoints, random.Random(f"{way} {task} {variation}"))
    return anyio.run(run_episode, spec, slot, *ports)


class _Kept:
    """Finished episodes, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def has(self, *key: object) -> bool:
        """Whether an episode was played."""
        return any((row["way"], row["task"], row["variation"]) == key for row in self.rows)

    def add(self, way: str, result: EpisodeResult, seconds: float) -> None:
        """Keep one."""
        row = {
            "way": way,
            "task": result.task,
            "variation": result.variation,
            "score": float(result.score),
            "stopped": result.stopped,
            "turns": result.turns,
            "moves": result.moves,
            "seconds": round(seconds, 2),
        }
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _episodes(chosen: Chosen) -> Iterator[tuple[str, int]]:
    for task, things in chosen.items():
        for variations in things.values():
            yield from ((task, variation) for variation in variations)


def report(kept: _Kept, ways: Sequence[str], chosen: Chosen, console: Console) -> None:
    """Print the means, and each difference from the first way, with intervals over things."""
    scores: dict[str, Scores] = {
        way: {(row["task"], row["variation"]): [row["score"]] for row in kept.rows if row["way"] == way} for way in ways
    }
    table = Table("way", "mean", "95%", f"minus {ways[0]}", "95%", "how episodes ended", "seconds")
    for way in ways:
        rows = [row for row in kept.rows if row["way"] == way]
        nested, apart = by_things(chosen, scores[way]), by_things(chosen, scores[way], scores[ways[0]])
        ended = ", ".join(f"{name} {count}" for name, count in Counter(row["stopped"] for row in rows).most_common())
        difference = () if way == ways[0] else (f"{mean_over_things(apart):+.1f}", _span(over_things(apart)))
        spent = f"{sum(row['seconds'] for row in rows):.0f}"
        cells = (*difference, *[""] * (2 - len(difference)))
        table.add_row(way, f"{mean_over_things(nested):.1f}", _span(over_things(nested)), *cells, ended, spent)
    console.print(table)
    for way in ways:
        lost = {
            task: round(sum(plays) / len(plays))
            for task in chosen
            if (plays := [row["score"] for row in kept.rows if (row["way"], row["task"]) == (way, task)])
            and sum(plays) / len(plays) < 95
        }
        console.print(f"{way}: below 95: {lost}")


def _span(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.1f} to {interval[1]:.1f}" if interval else ""


def main(
    fold: Annotated[int, typer.Option(help="Fold of training variations: 0, 1 or 2.")] = 0,
    ways: Annotated[str, typer.Option(help="Ways between commas; the first is compared with.")] = "greedy,drawn-1",
    variations: Annotated[int, typer.Option(help="At most so many of each task type.", min=1)] = 3,
    tasks: Annotated[str, typer.Option(help="Task ids between commas. Default: all that the fold has.")] = "",
    rules: Annotated[str, typer.Option(help="Rules of play: none or all.")] = "none",
    checkpoints: Annotated[Path, typer.Option(help="Folder of controller, executor and flat.")] = Path("checkpoints"),
    data: Annotated[Path, typer.Option(help="Table of trajectories.")] = Path("data/trajectories.parquet"),
    keep: Annotated[Path, typer.Option(help="File of finished episodes.")] = Path("build/choices.jsonl"),
) -> None:
    """Play, compare and print."""
    console = Console(highlight=False)
    names = ways.split(",")
    chosen = training_world(_WORLD.name).held_out(read_table(data), fold, variations)
    if tasks:
        chosen = {task: chosen[task] for task in tasks.split(",") if task in chosen}
    kept = _Kept(keep)
    slot = _WORLD.open(EnvironmentLimits())
    try:
        for way in names:
            for task, variation in _episodes(chosen):
                if kept.has(way, task, variation):
                    continue
                began = time.process_time()
                try:
                    result = play(slot, way, task, variation, checkpoints, rules == "all")
                except EnvironmentFault:
                    slot.close()
                    slot = _WORLD.open(EnvironmentLimits())
                    result = play(slot, way, task, variation, checkpoints, rules == "all")
                kept.add(way, result, time.process_time() - began)
    finally:
        slot.close()
    report(kept, names, chosen, console)


if __name__ == "__main__":
    typer.run(main)
