"""The `seed` prompt format: that of the published models (Hashemzadeh et al., CoLLAs 2024), space for space.

Actions stand in functional form, in the history and as the executor's target: `USE(thermometer, water)`; an
ended sub-goal is `END_SG()`, and a sub-goal is its own text. The history opens with a virtual turn, `look
around` answered by `N/A`, and its last ten turns are shown, the oldest marked `<extra_id_10>`, then downwards.

Texts are cleaned as published: a newline with the tab after it, a newline alone and a tab alone each become
` | `, one for one, so that an indented line keeps one ` | ` for every level; `(that is open)` and `(containing
nothing)` go, the spaces around them stay; `green house` is `greenhouse`.

The published twins of the controller's prompt differ in which sub-goal counts as current, and leave the sentence
out when there is none; here it always stands, and current is the last sub-goal given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from waymark import actions
from waymark.contracts import AgentState, Role, Turn
from waymark.errors import UnparsableAction
from waymark.prompts.bounds import TEXT_CHARACTERS, within_bounds
from waymark.state import canonical

_HISTORY_TURNS = 10
_OPENING = Turn(action="look around", observation="N/A")
_BREAK = re.compile(r"\n\t|\n|\t")
_DROPPED = ("(that is open)", "(containing nothing)")
_QUESTIONS: dict[Role, str] = {
    "executor": " What action should you do next? </s> ",
    "flat": " What action should you do next? </s> ",
    "controller": " . What subtask should you do next? </s> ",
    "first": " . You just have started this task. You did not do any actions yet. "
    "What is the first subtask you should do? </s> ",
}


@dataclass(frozen=True)
class _Seed:
    name: str = "seed"
    history_turns: int = _HISTORY_TURNS

    def render(self, role: Role, state: AgentState) -> str:
        state = within_bounds(state)
        text = f"{state.task} </s> Time: {state.step}; Score: {state.score}; </s> "
        if role in ("executor", "controller"):
            text += f"{_done(state)}. The current subtask is {state.current_subgoal or ''}"
        if role != "first":
            text += f"Action history: </s>{_history(state)} </s> "
        text += f"Current environment: {state.look} </s> Current inventory: {state.inventory} </s> "
        if state.visited_rooms:
            text += f"Visited rooms: {', '.join(state.visited_rooms)} </s> "
        return _clean(text + _QUESTIONS[role])

    def target(self, role: Role, decision: str | None) -> str:
        if decision is None:
            return actions.formal(actions.END_SUBGOAL)
        if role in ("controller", "first"):
            return decision
        return canonical(actions.formal(actions.parse(decision)))

    def parse(self, role: Role, text: str) -> str | None:
        if role in ("controller", "first"):
            if not text.strip():
                raise UnparsableAction("The model wrote nothing.", remedy="Ask for more alternatives.")
            return text.strip()
        action = actions.parse_formal(text)
        return None if actions.is_end(action) else actions.format(action)


SEED = _Seed()


def _done(state: AgentState) -> str:
    if not state.completed_subgoals:
        return ". No completed subtasks"
    return f". Completed subtasks are: {', '.join(state.completed_subgoals)}"


def _history(state: AgentState) -> str:
    complete = state.step == len(state.turns) + 1
    turns = state.turns[-_HISTORY_TURNS:]
    turns = (_OPENING, *turns) if complete else turns
    return "".join(
        f" <extra_id_{_HISTORY_TURNS - place}> {_formal(turn.action)} (+{turn.reward}) --> {_answer(turn)} | "
        for place, turn in enumerate(turns[-_HISTORY_TURNS:])
    )


def _answer(turn: Turn) -> str:
    return turn.observation[:TEXT_CHARACTERS]


def _formal(action: str) -> str:
    """An action of the past in functional form. What was no action is shown as it was tried: its answer tells."""
    try:
        return actions.formal(actions.parse(action))
    except UnparsableAction:
        return action


def _clean(text: str) -> str:
    text = canonical(_BREAK.sub(" | ", text))
    for phrase in _DROPPED:
        text = text.replace(phrase, "")
    return text
