"""The prompts of the published models (Hashemzadeh et al., CoLLAs 2024), byte for byte as their evaluation sends them.

Two formats, `seed` and `seed-imported`, differ in the controller's prompt alone. The published code has two functions
for it: `seed` is the one that nothing calls but that fits the loop's arguments (the last sub-goal is the current one);
`seed-imported` is the one that the loop imports (the last but one is current). Both leave the sentence about the
current sub-goal out if there is none.

How a prompt shows a state:

- An ended sub-goal is a turn: it is shown as `END_SG()` with the last observation again, and `Time` counts it.
- The history opens with a virtual turn, `look around` answered by `N/A`. Its last ten turns are shown, the oldest
  marked `<extra_id_10>`, then downwards.
- Scores and rewards are cut as the published code cuts them: `int(0.29 * 100)` is 28, and 57 and 58 lose a point too.
- Visited rooms are `named_rooms`: rooms that a walk's answer or a look of a room names. The first prompt shows none.
- Texts are cleaned as published: a newline with the tab after it, a newline alone and a tab alone each become ` | `,
  one for one; three names are reworded; `(that is open)` and `(containing nothing)` go, the spaces around them stay.

The published training data differ from these prompts in several points: see
`training/worlds/scienceworld/published_examples.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.worlds.scienceworld.prompts import published_actions
from waymark.worlds.scienceworld.prompts.published_actions import END
from waymark.worlds.scienceworld.prompts.text_limits import TEXT_CHARACTERS, within_bounds

_HISTORY_TURNS = 10
_OPENING = Turn(action="look around", observation="N/A")
_BREAK = re.compile(r"\n\t|\n|\t")
_REWORDED = (
    ("green house", "greenhouse"),
    ("activate bee hive", "open bee hive"),
    ("seed peach tree", "peach seed"),
    ("orange tree seed", "orange seed"),
)
_DROPPED = ("(that is open)", "(containing nothing)")
_QUESTIONS: dict[Role, str] = {
    "executor": " What action should you do next? </s> ",
    "flat": " What action should you do next? </s> ",
    "controller": " . What subtask should you do next? </s> ",
    "first": " . You just have started this task. You did not do any actions yet. "
    "What is the first subtask you should do? </s> ",
}


@dataclass(frozen=True)
class Seed:
    """The published format. `behind` is the number of last sub-goals that the controller's prompt leaves out."""

    name: str
    behind: int = 0
    history_turns: int = _HISTORY_TURNS

    def render(self, role: Role, state: AgentState) -> str:
        """The prompt at evaluation."""
        shown = state.turns[max(0, len(state.turns) - _HISTORY_TURNS) :]
        return self.compose(role, state, [truncated(turn.reward) for turn in shown])

    def compose(self, role: Role, state: AgentState, rewards: Sequence[int]) -> str:
        """A prompt that prints these rewards of its last turns."""
        state = within_bounds(state)
        text = f"{state.task} </s> Time: {state.step}; Score: {truncated(state.score)}; </s> "
        if role in ("executor", "controller"):
            text += _subgoals(state, self.behind if role == "controller" else 0)
        if role != "first":
            text += f"Action history: </s>{_history(state, rewards)} </s> "
        text += f"Current environment: {state.look} </s> Current inventory: {state.inventory} </s> "
        rooms = state.visited_rooms if state.named_rooms is None else state.named_rooms
        if rooms and role != "first":
            text += f"Visited rooms: {', '.join(rooms)} </s> "
        text = _clean(text + _QUESTIONS[role])
        for phrase in _DROPPED:
            text = text.replace(phrase, "")
        return text

    def target(self, role: Role, decision: str | None) -> str:
        """A sub-goal as it is; an action is cleaned and then written in functional form."""
        if decision is None:
            return END
        if role in ("controller", "first"):
            return decision
        return published_actions.formal(_clean(decision))

    def parse(self, role: Role, text: str) -> str | None:
        """The inverse of `target`, as far as the published form can be converted back."""
        if role in ("controller", "first"):
            if not text.strip():
                raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
            return text.strip()
        return published_actions.parse(text)


SEED = Seed("seed")
SEED_IMPORTED = Seed("seed-imported", behind=1)


def truncated(points: int) -> int:
    """Points as published prompts print them: a float share of 100, cut towards 0. Of 0 to 100 only 29, 57 and 58 lose
    one."""
    return int(points / 100 * 100)


def _subgoals(state: AgentState, behind: int) -> str:
    """The sub-goals given so far, without the last `behind`: those completed, and the current one."""
    subgoals = [*state.completed_subgoals, *([state.current_subgoal] if state.current_subgoal else [])]
    subgoals = subgoals[: max(0, len(subgoals) - behind)]
    completed = f". Completed subtasks are: {', '.join(subgoals[:-1])}" if subgoals[1:] else ". No completed subtasks"
    return completed + "".join(f". The current subtask is {subgoal}" for subgoal in subgoals[-1:])


def _history(state: AgentState, rewards: Sequence[int]) -> str:
    has_all_turns = state.step == len(state.turns) + 1
    turns = (_OPENING, *state.turns) if has_all_turns else state.turns
    turns = turns[max(0, len(turns) - _HISTORY_TURNS) :]
    printed = [0, *rewards][-len(turns) :] if turns else []
    return "".join(
        f" <extra_id_{_HISTORY_TURNS - place}> {_formal(turn)} (+{reward}) --> {turn.observation[:TEXT_CHARACTERS]} | "
        for place, (turn, reward) in enumerate(zip(turns, printed, strict=True))
    )


def _formal(turn: Turn) -> str:
    """A turn's action in functional form. Text that is not an action is shown as it was tried; its answer shows the
    error.
    """
    if turn.action is None:
        return END
    try:
        return published_actions.formal(turn.action)
    except UnparsableAction:
        return turn.action


def _clean(text: str) -> str:
    text = _BREAK.sub(" | ", text)
    for before, after in _REWORDED:
        text = text.replace(before, after)
    return text
