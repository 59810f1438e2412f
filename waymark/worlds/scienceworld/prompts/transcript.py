"""The `transcript` prompt format, for decoder-only models, whose engines cache the common beginning of prompts.

A prompt begins with the episode's record, which stays the same from step to step. The parts that change at every step
follow, the most important one last. Texts are normalised by `waymark.worlds.scienceworld.prompts.text_normalisation`:

    beginning           task, then every turn, `action : answer`
    executor            actions since the sub-goal was given, room, inventory, sub-goal
    flat                rooms seen, readings, room, inventory, score
    controller, first   rooms seen, readings, room, inventory, score, sub-goals given so far

If turns do not fit, the eight oldest ones are removed together; the beginning then stays the same for about eight
steps. Facts on which an answer depends stay in the prompt as readings. Readings have the aids 4, 5 and 6 of `compact`.
"""

from __future__ import annotations

from dataclasses import dataclass

from waymark.agent.state import actions_only
from waymark.contracts import AgentState, Role, Turn
from waymark.worlds.scienceworld.prompts.decisions import (
    Decisions,
    actions,
    subgoals,
    turns_of_subgoal,
    words_of_subgoal,
)
from waymark.worlds.scienceworld.prompts.instruction import task
from waymark.worlds.scienceworld.prompts.readings import READING_WORDS, readings
from waymark.worlds.scienceworld.prompts.text_limits import HISTORY, within_bounds
from waymark.worlds.scienceworld.prompts.text_normalisation import join, shortened
from waymark.worlds.scienceworld.prompts.things_in_sight import scene, visited_rooms
from waymark.worlds.scienceworld.scene import room_of

_TURNS_SINCE = 8
_TURNS_AT_ONCE = 8
"""Number of turns that are removed together."""
_TURN_WORDS = 240
"""Largest number of words of all turns together."""
_SCENE_WORDS = 240
"""Largest number of words of room and inventory, so that the parts after them are not cut."""
_WORDS = 460
"""Largest number of words of a whole prompt. With names that take several pieces it is below the 512 tokens that models
read."""


@dataclass(frozen=True)
class _Transcript(Decisions):
    name: str = "transcript"
    history_turns: int = HISTORY

    def render(self, role: Role, state: AgentState) -> str:
        state = within_bounds(actions_only(state))
        end = _ending(role, state)
        room = min(_TURN_WORDS, _WORDS - _count(join([task(state), *end])))
        return join([task(state), *_turns(state, room), *end])


TRANSCRIPT = _Transcript()


def _ending(role: Role, state: AgentState) -> list[str]:
    """The parts that change at each step."""
    here = " ".join(join(scene(state)).split()[:_SCENE_WORDS])
    if role == "executor":
        return [
            actions("did", turns_of_subgoal(state), _TURNS_SINCE),
            here,
            words_of_subgoal(state.current_subgoal or ""),
        ]
    gave = subgoals(state) if role != "flat" else ""
    return [visited_rooms(state), readings(state), here, f"score {state.score}", gave]


def _turns(state: AgentState, room: int) -> list[str]:
    """The turns that fit (in words), without the oldest ones. Which ones are removed does not depend on the number that
    was sent.
    """
    oldest = state.step - 1 - len(state.turns)
    first = max(0, len(state.turns) - HISTORY)
    first += -(oldest + first) % _TURNS_AT_ONCE
    turns = [_turn(turn) for turn in state.turns[first:]]
    while turns and _count(" | ".join(turns)) > room:
        turns = turns[_TURNS_AT_ONCE:]
    return turns


def _turn(turn: Turn) -> str:
    """An action and its answer; for a look without the answer, since the prompt ends with the present look."""
    looked = room_of(turn.observation) is not None or turn.observation.startswith("In your inventory")
    answer = "" if looked else shortened(turn.observation, READING_WORDS)
    return f"{turn.acted.lower()} : {answer}".strip()


def _count(text: str) -> int:
    return len(text.split())
