"""How the turns of an episode change its state: while it is played, and when a recorded episode is read again.

The episode loop calls `begin_turn` and `end_turn`; `moments` calls the same two for a recorded episode, so a recorded
state is the one that was sent when the episode was played.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from waymark.agent.rules import EndRule, RuleSet, rules_of
from waymark.agent.state import COMPLETE, StateFold
from waymark.agent.world_port import AgentWorld
from waymark.contracts import AgentConfig, AgentState, EpisodeResult, TurnRecord
from waymark.worlds.registry import agent_world, world_of

ASKS_CONTROLLER = frozenset(("controller", "semi_random"))
"""Sources of sub-goals that ask the controller."""
_FORMER_RULE = "unknown-ends-subgoal"
"""A rule of earlier versions, which ended the sub-goal after an action that the environment did not know."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of an episode at which a model was asked."""

    asked: Literal["controller", "executor"]
    state: AgentState
    """As it was sent, with the last turns only."""
    turn: int = 0
    """The number of the turn, from 1."""


def begin_turn(fold: StateFold, rules: RuleSet) -> None:
    """Begin a turn: a rule may end the sub-goal under way."""
    ending = [rule for rule in rules.of(EndRule) if rule.is_over(fold.state)]
    if ending:
        rules.record(*ending)
        fold.end_subgoal()


def end_turn(fold: StateFold, turn: TurnRecord) -> None:
    """Add a turn to the state. The sub-goal has ended if the executor said so, or if the turn records that a rule ended
    it."""
    if turn.action is not None:
        fold.act(turn.action, turn.observation, turn.look, turn.inventory, turn.score)
    ended = turn.action is None if turn.known else _FORMER_RULE in turn.rules
    if ended:
        fold.end_subgoal()


def moments(
    result: EpisodeResult, history_turns: int, world: AgentWorld | None = None, *, of_turn: int | None = None
) -> Iterator[Moment]:
    """The moments of a recorded episode at which a model was asked, in order; none if it never opened.

    Several questions to a model in the same state count as one. `world` is by default the one that the result names.
    With `of_turn`, only the moments of this turn are returned; later turns are not read, and earlier states are not
    yielded.
    """
    if result.opening is None:
        return
    opening = result.opening
    if world is None:
        world = world_of(result.versions.environment).agent if result.versions else agent_world()
    agent = _with_rules_of_today(result.agent or AgentConfig(), world)
    rules = rules_of(agent, world)
    fold = StateFold.start(opening.task, opening.look, opening.inventory, world, forgets=True)
    asks_controller = agent.subgoals in ASKS_CONTROLLER
    if agent.policy == "oracle_actions":
        return
    for turn in result.trajectory:
        wanted = of_turn is None or turn.turn == of_turn
        begin_turn(fold, rules)
        if wanted and turn.controller_called and asks_controller:
            yield Moment("controller", fold.visible(history_turns), turn.turn)
        if not _waited(turn):
            if turn.subgoal is not None:
                fold.give_subgoal(turn.subgoal)
            if wanted:
                yield Moment("executor", fold.visible(history_turns), turn.turn)
        if of_turn is not None and wanted:
            return
        end_turn(fold, turn)


def _with_rules_of_today(agent: AgentConfig, world: AgentWorld) -> AgentConfig:
    """The agent without the rules that earlier versions had."""
    if agent.rules is None:
        return agent
    known = {rule.name for rule in world.rules}
    return agent.model_copy(update={"rules": tuple(name for name in agent.rules if name in known)})


def _waited(turn: TurnRecord) -> bool:
    """Whether the agent believed that it was done, and asked no executor."""
    return turn.subgoal == COMPLETE and turn.proposed is None and turn.logprob is None
