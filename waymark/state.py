"""The fold from an episode's events to the agent's state: start -> after_step -> with_subgoal.

Pure functions. Training folds recorded trajectories and the env-runner folds live episodes through the same
code, so history, score units and the alignment of look and inventory with their step are decided here once:

- `look`, `inventory` and `observation` are those after the last action;
- `turns` keeps every turn; `recent` cuts it to what a service reads;
- the current sub-goal is the last one given, the completed ones are all before it;
- an ended sub-goal is no turn: it stays the current one until the next is given, which may be the same again.
"""

from __future__ import annotations

import re

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
    return AgentState(task=task, look=look, inventory=inventory, visited_rooms=_visit((), look))


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


def with_subgoal_ended(state: AgentState) -> AgentState:
    """The state once the executor has said that its sub-goal has ended."""
    return state.model_copy(update={"subgoal_step": None})


def scene(state: AgentState) -> Scene:
    """What the agent sees and carries."""
    return _READING.sub("", state.look), _READING.sub("", state.inventory)


def recent(state: AgentState, turns: int) -> AgentState:
    """The same state with only its last `turns` turns: what is worth sending to a service."""
    return state.model_copy(update={"turns": state.turns[max(0, len(state.turns) - turns) :]})


def _visit(rooms: tuple[str, ...], look: str) -> tuple[str, ...]:
    room = room_of(look)
    return rooms if room is None or room in rooms else (*rooms, room)
