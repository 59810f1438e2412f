"""The `compact` prompt format, for small models trained from scratch, and its variants without aids.

`waymark.worlds.scienceworld.prompts.text_normalisation` says how both are worded. What each role reads, in this order:

    executor            sub-goal, actions before it, actions since it was given, last answer, room, inventory
    flat                task, rooms seen, last actions, readings, last answer, what the task names and is here, room,
                        inventory, score
    controller, first   the same with the sub-goals given so far before the last actions

The executor does not read the task: its sub-goal names everything. This keeps its prompts short and its skills apart
from the task types. What was done since the sub-goal was given stands apart, because it shows whether the sub-goal has
ended. Readings are what instruments, planes and recipes said; an answer depends on them, so they stay in sight.

`compact` helps the controller, `first` and the flat model with these aids, which rules compute from the state:

1. `here NAME in HOLDER`: the things in sight that the task or the last recipe names.
2. The same things come first in the room's list and are taken off the furniture that they lie on.
3. The clauses of the task that readings rule out are left out.
4. A reading says `above` or `below`: how its number compares with those of the task or of the other readings. Of the
   answer only the number is shown.
5. `circuit on conductive : NAMES` or `circuit off nonconductive`, once something was connected.
6. `cross dominant` or `cross recessive`, once the child of a crossing is seen.

`compact-plain` has none of them: its task is whole, a reading is what was asked and answered, and the room is listed
in the order in which the simulator lists it. `compact-reasons` has the prompts of `compact-plain`; its answers to the
task's question begin with their reason (`waymark.worlds.scienceworld.prompts.reasons`). The executor's prompts and
answers are the same in all three formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from waymark.agent.state import actions_only
from waymark.contracts import AgentState, Role
from waymark.worlds.base import decision_of
from waymark.worlds.scienceworld.prompts.decisions import (
    Decisions,
    actions,
    subgoals,
    turns_of_subgoal,
    words_of_subgoal,
)
from waymark.worlds.scienceworld.prompts.instruction import remaining_instruction, task
from waymark.worlds.scienceworld.prompts.readings import READS, plain_readings, readings
from waymark.worlds.scienceworld.prompts.reasons import explained
from waymark.worlds.scienceworld.prompts.text_limits import HISTORY, within_bounds
from waymark.worlds.scienceworld.prompts.text_normalisation import join, shortened
from waymark.worlds.scienceworld.prompts.things_in_sight import scene, scene_by_relevance, visited_rooms

_TURNS_BEFORE = 3
_TURNS_SINCE = 8
_TURNS: dict[Role, int] = {"flat": 10, "controller": 5, "first": 5}
_ANSWER_WORDS = 40


@dataclass(frozen=True)
class _Compact(Decisions):
    name: str = "compact"
    history_turns: int = HISTORY
    aids: bool = True
    reasons: bool = False

    def render(self, role: Role, state: AgentState) -> str:
        state = within_bounds(actions_only(state))
        if role == "executor":
            subgoal = words_of_subgoal(state.current_subgoal or "")
            done = turns_of_subgoal(state)
            before = state.turns[: len(state.turns) - len(done)]
            acted = [actions("before", before, _TURNS_BEFORE), actions("did", done, _TURNS_SINCE)]
            return join([subgoal, *acted, _answer(state, role), *scene(state)])
        gave = subgoals(state) if role != "flat" else ""
        read = readings(state) if self.aids else plain_readings(state)
        instruction = remaining_instruction(state, read) if self.aids else task(state)
        acted = [gave, actions("did", state.turns, _TURNS[role]), read]
        here = scene_by_relevance(state, instruction) if self.aids else scene(state)
        return join([instruction, visited_rooms(state), *acted, _answer(state, role), *here, f"score {state.score}"])

    def explain(self, role: Role, state: AgentState, decision: str | None) -> str:
        """The model's output for a decision in a state, with its reason where the format has reasons."""
        target = self.target(role, decision)
        return explained(state, target) if self.reasons and role != "executor" else target

    def parse(self, role: Role, text: str) -> str | None:
        """The decision; a reason before it does not count."""
        return super().parse(role, decision_of(text) if self.reasons else text)


COMPACT = _Compact()
COMPACT_PLAIN = _Compact("compact-plain", aids=False)
COMPACT_REASONS = _Compact("compact-reasons", aids=False, reasons=True)


def _answer(state: AgentState, role: Role) -> str:
    """The last answer, unless it is a reading, which stands elsewhere."""
    read = role != "executor" and state.turns and state.turns[-1].acted.startswith(READS)
    return "answer " + shortened(state.observation, _ANSWER_WORDS) if _news(state) and not read else ""


def _news(state: AgentState) -> bool:
    """Whether the last answer says more than the look and the inventory, which follow."""
    answer = state.observation.strip()
    return bool(answer) and answer not in (state.look.strip(), state.inventory.strip())
