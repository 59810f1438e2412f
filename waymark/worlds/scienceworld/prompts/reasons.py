"""Answers that begin with their reason: what was found, and the clause of the task that it fulfils.

    above , focus on blue box : focus_on blue box
    on conductive , place it in red box : move metal fork , red box
    dominant , focus on green box : focus_on green box
    above : focus_on inclined plane with a glass surface

A small model does not find the box that an instruction leads to in one step. Written out, each step is a copy or one
comparison (Nye et al., "Show Your Work: Scratchpads for Intermediate Computation with Language Models", 2021). Only the
text after ` : ` is the decision; a reason is never executed.
"""

from __future__ import annotations

import re

from waymark.contracts import AgentState
from waymark.worlds.base import REASON_END
from waymark.worlds.scienceworld.prompts.instruction import task
from waymark.worlds.scienceworld.prompts.readings import (
    READING,
    circuit_reading,
    latest_readings,
    value_of,
)
from waymark.worlds.scienceworld.scene import BOX

_RELATION = re.compile(r"\b(above|below|conductive|nonconductive|dominant|recessive)\b")
_PLANE = "inclined plane"


def explained(state: AgentState, decision: str) -> str:
    """A decision in the notation of our formats, after its reason if it answers the task's question."""
    reason = _of_box(state, decision) or _of_plane(state, decision)
    return f"{reason}{REASON_END}{decision}" if reason else decision


def _of_box(state: AgentState, decision: str) -> str:
    """The finding and the clause that lead to one of several boxes; empty if the task has no such clause."""
    instruction = task(state)
    chosen = BOX.search(decision)
    if chosen is None or len(set(BOX.findall(instruction))) < 2:
        return ""
    for clause in instruction.split(" if ")[1:]:
        box, relation = BOX.search(clause), _RELATION.search(clause)
        if box and relation and box.group() == chosen.group():
            holds = READING.sub("", clause[relation.start() : box.end()])
            return " ".join([*_circuit(state, relation.group()), *holds.split()])
    return ""


def _circuit(state: AgentState, relation: str) -> list[str]:
    """Whether the circuit's lamp is on, if that says that the clause holds."""
    words = " ".join(circuit_reading(state)).split()
    return words[1:2] if relation in words[2:3] else []


def _of_plane(state: AgentState, decision: str) -> str:
    """How the reading of the first plane compares with that of the second."""
    if _PLANE not in decision or not decision.startswith("focus"):
        return ""
    matches = [READING.search(answer) for action, answer in latest_readings(state) if _PLANE in action]
    read = [match for match in matches if match is not None]
    if len(read) != 2 or value_of(read[0]) == value_of(read[1]):
        return ""
    return "above" if value_of(read[0]) > value_of(read[1]) else "below"
