"""The fold from an episode's events to the agent's state.

`StateFold` is the one way to fold an episode: the episode loop, the training data, the load test and the benchmarks
use it, so history, score units and the alignment of look and inventory with their step are decided here once:

- `look`, `inventory` and `observation` are those after the last action;
- the fold keeps every turn; `visible` cuts the history to the turns that a worker sends;
- the current sub-goal is the last one given, the completed ones are all before it;
- an ended sub-goal is a turn without an action; it stays the current one until the next is given, which may be the
  same again. Formats that show only actions read the state through `actions_only`.
"""

from __future__ import annotations

import re
from typing import Self

from waymark.contracts import AgentState, Turn

Scene = tuple[str, str]
"""Look and inventory, what instruments read left out: what an agent can tell two moments by."""
OTHER_THINGS = ("box", "juice", "paint", "cream", "cup")
"""Words that make another thing of the name before them: an orange box is no orange."""
OTHER_AGES = ("tree", "plant", "seed")
"""Words that make the same living thing at another age of it: a cherry tree is no cherry, but is what bears it."""
_ROOM = re.compile(r"(?:room|location) is called the ", re.IGNORECASE)
_NAME = re.compile(r"[a-z ]+", re.IGNORECASE)
_READING = re.compile(r"-?(?<!\d)\d+ degrees|(?<!\d)\d+ ticks")
_WALKED = "move to the "
_NAMED = "This room is called the "
_LONGEST_NAME = 500
_MOST_TURNS = 1_000
"""Turns that a state may carry at most."""


class StateFold:
    """The state of one episode, moved on by one event at a time.

    >>> fold = StateFold.start("Boil water.", "This room is called the kitchen.", "nothing")
    >>> fold.give_subgoal("navigate_to(hallway)")
    >>> fold.act("go to hallway", "You move to the hallway.", "This room is called the hallway.", "nothing", score=3)
    >>> fold.end_subgoal()
    >>> fold.visible(history_turns=10).visited_rooms
    ('kitchen', 'hallway')
    """

    def __init__(self, state: AgentState) -> None:
        self._state = state

    @classmethod
    def start(cls, task: str, look: str, inventory: str) -> Self:
        """A fold before the first action of an episode."""
        return cls(start(task, look, inventory))

    @property
    def state(self) -> AgentState:
        """The state with all turns: what the rules of play read."""
        return self._state

    def visible(self, history_turns: int) -> AgentState:
        """The state with its last `history_turns` turns: what a worker sends, and what a model is trained on.

        `history_turns` is the one of a prompt format, or the one that `/info` tells.
        """
        return recent(self._state, history_turns)

    def give_subgoal(self, subgoal: str) -> None:
        """A sub-goal is given. The one before it counts as completed."""
        self._state = with_subgoal(self._state, subgoal)

    def end_subgoal(self) -> None:
        """The sub-goal under way has ended: a turn without an action. Nothing happens where none is under way."""
        if self._state.subgoal_step is not None:
            self._state = after_subgoal_ended(self._state)

    def act(self, action: str, observation: str, look: str, inventory: str, score: int) -> None:
        """An action was taken; the other values are those after it. `score` is the new one, raw, -100 to 100."""
        self._state = after_step(self._state, action, observation, look, inventory, score)


def room_of(look: str) -> str | None:
    """The room that a look describes, as prompts say it (`greenhouse`, never `green house`)."""
    found = _ROOM.search(look)
    while found:
        name = _NAME.match(look, found.end())
        if name and look.startswith(".", name.end()):
            return canonical(name.group())
        # What begins within this run of letters ends where it does.
        found = _ROOM.search(look, name.end() if name else found.end())
    return None


def holds(text: str, vessel: str, thing: str) -> bool:
    """Whether a look or an inventory lists a vessel with a thing in it."""
    listed = rf"\b{re.escape(vessel)} \(containing [^()]*\b{re.escape(thing)}\b"
    return bool(re.search(listed, text, re.IGNORECASE))


def canonical(text: str) -> str:
    """The simulator says `green house` here and `greenhouse` there; prompts always say the latter."""
    return text.replace("green house", "greenhouse")


def start(task: str, look: str, inventory: str) -> AgentState:
    """The state before the first action."""
    return AgentState(
        task=task, look=look, inventory=inventory, visited_rooms=_visit((), look), named_rooms=name_rooms((), "", look)
    )


def after_step(state: AgentState, action: str, observation: str, look: str, inventory: str, score: int) -> AgentState:
    """The state after one action; `score` is the new one, raw, -100 to 100."""
    turn = Turn(action=action, observation=observation, reward=score - state.score)
    return state.model_copy(
        update={
            "look": look,
            "inventory": inventory,
            "observation": observation,
            "score": score,
            "step": state.step + 1,
            "turns": (*state.turns, turn),
            "visited_rooms": _visit(state.visited_rooms, look),
            "named_rooms": name_rooms(state.named_rooms or (), observation, look),
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
        completed = (*completed, state.current_subgoal)
    return state.model_copy(
        update={"current_subgoal": subgoal, "completed_subgoals": completed, "subgoal_step": state.step}
    )


def scene(state: AgentState) -> Scene:
    """What the agent sees and carries."""
    return _READING.sub("", state.look), _READING.sub("", state.inventory)


def recent(state: AgentState, actions: int) -> AgentState:
    """The same state with only its last `actions` actions and the ended sub-goals among them: what is worth sending.

    A format that shows only actions sees as many of them as one that shows all turns. At most 1,000 turns are kept.
    """
    first, left = len(state.turns), actions
    while first and (left or (actions and state.turns[first - 1].action is None)):
        first -= 1
        left -= state.turns[first].action is not None
    return state.model_copy(update={"turns": state.turns[max(first, len(state.turns) - _MOST_TURNS) :]})


def actions_only(state: AgentState) -> AgentState:
    """The same state as if ended sub-goals were no turns: neither shown nor counted."""
    turns = tuple(turn for turn in state.turns if turn.action is not None)
    ended = max(state.ended_subgoals, len(state.turns) - len(turns))
    if not ended:
        return state
    given = state.subgoal_step
    return state.model_copy(
        update={
            "step": max(1, state.step - ended),
            "turns": turns,
            "ended_subgoals": 0,
            "subgoal_step": None if given is None else max(1, given - ended),
        }
    )


def name_rooms(rooms: tuple[str, ...], observation: str, look: str) -> tuple[str, ...]:
    """The rooms of the published prompts: first the one that the answer to a walk ends with, then the one that a look
    names, each once. `This outside location is called …` names none, and a teleport's answer does not either."""
    named = [observation.partition(_WALKED)[2][:-1], look.partition(_NAMED)[2].partition(".")[0]]
    return tuple(dict.fromkeys((*rooms, *(room[:_LONGEST_NAME] for room in named if room))))


def _visit(rooms: tuple[str, ...], look: str) -> tuple[str, ...]:
    room = room_of(look)
    return rooms if room is None or room in rooms else (*rooms, room)
