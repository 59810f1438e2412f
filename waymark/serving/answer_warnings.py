"""Warnings about an answer. A model answers any text, even a web page, as if it were a scene of its world.

A state is doubted when the world of the checkpoint's prompt format does not recognise it
(`waymark.worlds.base.World.recognises`): its look names no room in that world's words. This is read from the text in
linear time and does not depend on the model's answer; docs/decisions/0252 has the measurements.
"""

from __future__ import annotations

from waymark.contracts import AgentState, DecisionWarning
from waymark.worlds.registry import world_of_format


def warnings_of(prompt_format: str, state: AgentState) -> tuple[DecisionWarning, ...]:
    """The reasons to doubt the answer of a checkpoint with this prompt format to this state."""
    world = world_of_format(prompt_format)
    if world.recognises(state):
        return ()
    message = (
        f"The state is not one of {world.title}, which this checkpoint was trained for: `look` names no room as it "
        "does. The answer is a guess."
    )
    return (DecisionWarning(code="unknown-scene", field="state.look", message=message),)
