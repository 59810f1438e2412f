"""The `compact` prompt format: ours, made for small models trained from scratch.

Worded as `waymark.worlds.scienceworld.prompts.wording` says. What each role reads, in this order:

    executor            sub-goal, actions before it, actions since it was given, last answer, room, inventory
    flat                task, rooms seen, last actions, readings, last answer, what the task names and is here, room,
                        inventory, score
    controller, first   the same with the sub-goals given so far before the last actions

The executor does not read the task: its sub-goal names everything, which keeps its prompts short and its
skills apart from the task types. What was done since the sub-goal was given stands apart, since that is what
tells whether it has ended. Readings are what instruments, planes and recipes said: what an answer depends on
stays in sight.
"""

from __future__ import annotations

from dataclasses import dataclass

from waymark.agent.state import actions_only
from waymark.contracts import AgentState, Role
from waymark.worlds.scienceworld.prompts.bounds import within_bounds
from waymark.worlds.scienceworld.prompts.wording import (
    HISTORY,
    READS,
    Decisions,
    actions,
    asked,
    join,
    readings,
    scene,
    searched,
    seen,
    shortened,
    since,
    subgoals,
    words_of_subgoal,
)

_TURNS_BEFORE = 3
_TURNS_SINCE = 8
_TURNS: dict[Role, int] = {"flat": 10, "controller": 5, "first": 5}
_ANSWER_WORDS = 40


@dataclass(frozen=True)
class _Compact(Decisions):
    name: str = "compact"
    history_turns: int = HISTORY

    def render(self, role: Role, state: AgentState) -> str:
        state = within_bounds(actions_only(state))
        if role == "executor":
            given = words_of_subgoal(state.current_subgoal or "")
            done = since(state)
            before = state.turns[: len(state.turns) - len(done)]
            acted = [actions("before", before, _TURNS_BEFORE), actions("did", done, _TURNS_SINCE)]
            return join([given, *acted, _answer(state, role), *scene(state)])
        gave = subgoals(state) if role != "flat" else ""
        read = readings(state)
        told = asked(state, read)
        acted = [gave, actions("did", state.turns, _TURNS[role]), read]
        here = [_answer(state, role), *searched(state, told)]
        return join([told, seen(state), *acted, *here, f"score {state.score}"])


COMPACT = _Compact()


def _answer(state: AgentState, role: Role) -> str:
    """The last answer, where it is no reading that stands elsewhere."""
    read = role != "executor" and state.turns and state.turns[-1].acted.startswith(READS)
    return "answer " + shortened(state.observation, _ANSWER_WORDS) if _news(state) and not read else ""


def _news(state: AgentState) -> bool:
    """Whether the last answer says more than the look and the inventory, which follow anyway."""
    answer = state.observation.strip()
    return bool(answer) and answer not in (state.look.strip(), state.inventory.strip())
