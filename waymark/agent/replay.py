"""How the turns of an episode move its state on: while it is played, and when a recorded episode is read again.

The episode loop calls `begin_turn` and `end_turn`; `moments` calls the same two for a recorded episode, so a recorded
state is the one that was sent when the episode was played.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from waymark.agent.state import StateFold
from waymark.contracts import AgentState, EpisodeResult, Policy, TurnRecord
from waymark.worlds.scienceworld.subgoals import COMPLETE, is_over

ASKS_CONTROLLER = frozenset(("controller", "semi_random"))
"""Sources of sub-goals that ask the controller."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of an episode at which a model was asked."""

    asked: Literal["controller", "executor"]
    state: AgentState
    """As it was sent, with the last turns only."""
    turn: int = 0
    """The number of the turn, from 1."""


def begin_turn(fold: StateFold, policy: Policy = "guided") -> None:
    """A turn begins: under the guided policy a sub-goal that has nothing more to do has ended."""
    if policy == "guided" and is_over(fold.state):
        fold.end_subgoal()


def end_turn(fold: StateFold, turn: TurnRecord, policy: Policy = "guided") -> None:
    """A turn is over. A sub-goal has ended if the executor said so; under the guided policy also if its action was
    unknown."""
    if turn.action is not None:
        fold.act(turn.action, turn.observation, turn.look, turn.inventory, turn.score)
    ended = turn.action is None if turn.known else policy == "guided"
    if ended:
        fold.end_subgoal()


def moments(result: EpisodeResult, history_turns: int) -> Iterator[Moment]:
    """The moments of a recorded episode at which a model was asked, in order; none if it never opened.

    A model that was asked several times in the same state counts once.
    """
    if result.opening is None:
        return
    opening = result.opening
    fold = StateFold.start(opening.task, opening.look, opening.inventory)
    policy: Policy = "guided" if result.agent is None else result.agent.policy
    asks_controller = result.agent is None or result.agent.subgoals in ASKS_CONTROLLER
    for turn in result.trajectory:
        begin_turn(fold, policy)
        if turn.controller_called and asks_controller:
            yield Moment("controller", fold.visible(history_turns), turn.turn)
        if turn.subgoal != COMPLETE or policy == "published":  # else the loop waits and asks nobody
            if turn.subgoal is not None:
                fold.give_subgoal(turn.subgoal)
            yield Moment("executor", fold.visible(history_turns), turn.turn)
        end_turn(fold, turn, policy)
