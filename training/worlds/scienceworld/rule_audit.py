"""The rules of play held to the oracle: how many of its sub-goals would the agent's rules have refused?

The rules are those of `waymark.agent.subgoal_sources.controller` that need no model: what is out of sight, what was
given before in the same scene; and when `subgoal-over` ends a sub-goal without asking the executor. A rule that
refuses what the oracle does is wrong there, or the annotation is. Detours and `complete_task()` are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich import box
from rich.table import Table

from training.annotations import Annotation
from training.datasets import decisions
from training.trajectories import PathKey, Trajectory
from waymark.agent.rules import Choice, SubgoalRule, rules_of
from waymark.agent.state import COMPLETE, actions_only
from waymark.agent.subgoal_sources.controller import SubgoalHistory, choose_subgoal
from waymark.contracts import AgentConfig
from waymark.worlds.scienceworld.agent_world import SCIENCEWORLD
from waymark.worlds.scienceworld.subgoal_end import is_over
from waymark.worlds.scienceworld.subgoals_in_sight import in_sight

Rule = Literal["out of sight", "given before", "cut short"]
_SHOWN = 3
_SUBGOAL_RULES = rules_of(AgentConfig(), SCIENCEWORLD).of(SubgoalRule)
_ANOTHER = "look around()"
"""What the controller could have said instead."""


@dataclass(frozen=True)
class Refusal:
    """One sub-goal of an oracle path that a rule would have refused."""

    task_id: str
    variation: int
    take: int
    step: int
    """Of the path, from 1."""
    subgoal: str
    rule: Rule


@dataclass(frozen=True)
class Refusals:
    """What came of a replay."""

    subgoals: int
    refused: list[Refusal]

    def of(self, rule: Rule) -> list[Refusal]:
        """Those of one rule."""
        return [refusal for refusal in self.refused if refusal.rule == rule]

    def table(self) -> Table:
        """For people: each rule with what it refuses, and what of that most often."""
        shown = Table("", "refused", "share", "most often", box=box.SIMPLE)
        for rule in get_args(Rule):
            refused = self.of(rule)
            share = len(refused) / max(1, self.subgoals)
            shown.add_row(rule, f"{len(refused):,}", f"{share:.2%}", _most_often(refused))
        return shown


def replay(trajectories: Iterable[Trajectory], annotations: Mapping[PathKey, Annotation]) -> Refusals:
    """Ask the rules about each sub-goal of annotated paths. Raises KeyError for a path that was not annotated."""
    subgoals, refused = 0, []
    for path in trajectories:
        given = SubgoalHistory()
        for decision in decisions(path, annotations[path.key], "controller"):
            state, subgoal = decision.state, decision.answer
            if subgoal is None or subgoal == COMPLETE:
                continue
            subgoals += 1
            choice = given.choice(state, state.current_subgoal)
            refused += [
                Refusal(path.task_id, path.variation, path.take, actions_only(state).step, subgoal, rule)
                for rule in _against(subgoal, choice)
            ]
            given.add(subgoal, state)
        refused += _cut_short(path, annotations[path.key])
    return Refusals(subgoals, refused)


def _against(subgoal: str, choice: Choice) -> Iterator[Rule]:
    """The rules that refuse a sub-goal."""
    if not in_sight([subgoal], choice.state):
        yield "out of sight"
    if choose_subgoal([subgoal, _ANOTHER], choice, _SUBGOAL_RULES) != subgoal:
        yield "given before"


def _cut_short(path: Trajectory, annotation: Annotation) -> Iterator[Refusal]:
    """The sub-goals that the loop would have ended before the oracle did."""
    met: set[int | None] = set()
    for decision in decisions(path, annotation, "executor"):
        state = decision.state
        if decision.answer is None or state.subgoal_step in met or not is_over(state):
            continue
        met.add(state.subgoal_step)
        yield Refusal(
            path.task_id, path.variation, path.take, actions_only(state).step, state.current_subgoal or "", "cut short"
        )


def _most_often(refused: Sequence[Refusal]) -> str:
    counts = Counter(refusal.subgoal for refusal in refused)
    return ", ".join(f"{subgoal} {count}" for subgoal, count in counts.most_common(_SHOWN))
