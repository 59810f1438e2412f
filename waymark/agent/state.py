"""The fold from an episode's events to the agent's state.

`StateFold` is the only code that computes a state from the events of an episode. The episode loop, the training data,
the load test and the benchmarks use it. It decides:

- `look`, `inventory` and `observation` are those after the last action;
- the fold keeps every turn unless it is told otherwise; `visible` cuts the history to the turns that a worker sends;
- rooms and sub-goals are counted up to what a request may carry: the first rooms, the last completed sub-goals;
- the current sub-goal is the last sub-goal given; all before it count as completed;
- an ended sub-goal is a turn without an action; it stays the current sub-goal until the next is given, which may be
  the same again. Formats that show only actions read the state through `actions_only`.
"""

from __future__ import annotations

from typing import Self

from waymark.agent.world_port import AgentWorld, with_room
from waymark.contracts import MOST_ROOMS, MOST_SUBGOALS, MOST_TURNS, AgentState, Turn
from waymark.worlds.base import COMPLETE
from waymark.worlds.registry import agent_world

__all__ = ["COMPLETE", "Scene", "StateFold", "actions_only", "scene"]

Scene = tuple[str, str]
"""Look and inventory without the readings of instruments: two moments with the same scene look alike to the agent."""


class StateFold:
    """The state of one episode. Each method adds one event.

    >>> fold = StateFold.start("Boil water.", "This room is called the kitchen.", "nothing")
    >>> fold.give_subgoal("navigate_to(hallway)")
    >>> fold.act("go to hallway", "You move to the hallway.", "This room is called the hallway.", "nothing", score=3)
    >>> fold.end_subgoal()
    >>> fold.visible(history_turns=10).visited_rooms
    ('kitchen', 'hallway')
    """

    def __init__(self, state: AgentState, world: AgentWorld | None = None, *, forgets: bool = False) -> None:
        """`world` reads the scenes; None is the default world of the registry.

        A fold that `forgets` keeps as many turns as a request may carry, and takes the same time for each event of an
        episode of any length. It is for readers of `visible`: rules of play look at all turns.
        """
        self._state = state
        self._world = world
        self._forgets = forgets

    @classmethod
    def start(
        cls, task: str, look: str, inventory: str, world: AgentWorld | None = None, *, forgets: bool = False
    ) -> Self:
        """A fold before the first action of an episode."""
        return cls(start(task, look, inventory, world), world, forgets=forgets)

    @property
    def state(self) -> AgentState:
        """The state with all turns: what the rules of play read."""
        return self._state

    def visible(self, history_turns: int) -> AgentState:
        """The state with its last `history_turns` turns: what a worker sends, and what a model is trained on.

        `history_turns` is that of a prompt format, or that of `/info`.
        """
        return recent(self._state, history_turns)

    def give_subgoal(self, subgoal: str) -> None:
        """A sub-goal is given. The one before it counts as completed."""
        self._state = with_subgoal(self._state, subgoal)

    def end_subgoal(self) -> None:
        """The current sub-goal has ended, which is a turn without an action. Without a current sub-goal nothing
        changes.
        """
        if self._state.subgoal_step is not None:
            self._state = after_subgoal_ended(self._state)
            self._forget()

    def act(self, action: str, observation: str, look: str, inventory: str, score: int) -> None:
        """An action was taken. The other arguments are the texts and the raw score (-100 to 100) after it."""
        self._state = after_step(self._state, action, observation, look, inventory, score, self._world)
        self._forget()

    def _forget(self) -> None:
        if self._forgets and len(self._state.turns) >= 2 * MOST_TURNS:  # seldom, since it copies all that are kept
            self._state = self._state.model_copy(update={"turns": self._state.turns[-MOST_TURNS:]})


def start(task: str, look: str, inventory: str, world: AgentWorld | None = None) -> AgentState:
    """The state before the first action."""
    world = world or agent_world()
    return AgentState(
        task=task,
        look=look,
        inventory=inventory,
        visited_rooms=with_room((), world.room_of(look)),
        named_rooms=world.name_rooms((), "", look),
    )


def after_step(
    state: AgentState,
    action: str,
    observation: str,
    look: str,
    inventory: str,
    score: int,
    world: AgentWorld | None = None,
) -> AgentState:
    """The state after one action; `score` is the new one, raw, -100 to 100."""
    world = world or agent_world()
    turn = Turn(action=action, observation=observation, reward=score - state.score)
    return state.model_copy(
        update={
            "look": look,
            "inventory": inventory,
            "observation": observation,
            "score": score,
            "step": state.step + 1,
            "turns": (*state.turns, turn),
            "visited_rooms": with_room(state.visited_rooms, world.room_of(look))[:MOST_ROOMS],
            "named_rooms": world.name_rooms(state.named_rooms or (), observation, look)[:MOST_ROOMS],
        }
    )


def after_subgoal_ended(state: AgentState) -> AgentState:
    """The state once its sub-goal has ended: one turn later, in the same scene."""
    turn = Turn(action=None, observation=state.observation, reward=0)
    return state.model_copy(
        update={
            "step": state.step + 1,
            "turns": (*state.turns, turn),
            "ended_subgoals": state.ended_subgoals + 1,
            "subgoal_step": None,
        }
    )


def with_subgoal(state: AgentState, subgoal: str) -> AgentState:
    """The state once a sub-goal is given. Giving the current one again changes nothing unless it had ended."""
    if subgoal == state.current_subgoal:
        return state if state.subgoal_step else state.model_copy(update={"subgoal_step": state.step})
    completed = state.completed_subgoals
    if state.current_subgoal is not None:
        completed = (*completed, state.current_subgoal)[-MOST_SUBGOALS:]
    return state.model_copy(
        update={"current_subgoal": subgoal, "completed_subgoals": completed, "subgoal_step": state.step}
    )


def scene(state: AgentState, world: AgentWorld | None = None) -> Scene:
    """What the agent sees and carries."""
    world = world or agent_world()
    return world.without_readings(state.look), world.without_readings(state.inventory)


def recent(state: AgentState, actions: int) -> AgentState:
    """The same state with only its last `actions` actions and the ended sub-goals among them: what a request sends.

    A format that shows only actions sees as many of them as one that shows all turns. At most 1,000 turns are kept.
    """
    first, left = len(state.turns), actions
    while first and (left or (actions and state.turns[first - 1].action is None)):
        first -= 1
        left -= state.turns[first].action is not None
    return state.model_copy(update={"turns": state.turns[max(first, len(state.turns) - MOST_TURNS) :]})


def actions_only(state: AgentState) -> AgentState:
    """The same state without ended sub-goals as turns: they are neither shown nor counted."""
    turns = tuple(turn for turn in state.turns if turn.action is not None)
    ended = max(state.ended_subgoals, len(state.turns) - len(turns))
    if not ended:
        return state
    given_at = state.subgoal_step
    return state.model_copy(
        update={
            "step": max(1, state.step - ended),
            "turns": turns,
            "ended_subgoals": 0,
            "subgoal_step": None if given_at is None else max(1, given_at - ended),
        }
    )
