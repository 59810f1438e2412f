"""Doubts about an answer: a model answers whatever it is shown, also a web page, as if it were a scene of its world.

A state is doubted when the world of the checkpoint's prompt format does not recognise it
(`waymark.worlds.base.World.recognises`): its look names no room in that world's words. That is read off the text, in
linear time, before and apart from what the model says; docs/decisions/0252 has what was measured.
"""

from __future__ import annotations

from waymark.contracts import AgentState, DecisionWarning
from waymark.worlds.registry import world_of_format


def warnings_of(prompt_format: str, state: AgentState) -> tuple[DecisionWarning, ...]:
    """What makes an answer to this state doubtful for a checkpoint of this prompt format."""
    world = world_of_format(prompt_format)
    if world.recognises(state):
        return ()
    message = (
        f"The state is not one of {world.title}, which this checkpoint was trained for: `look` names no room as it "
        "does. The answer is a guess."
    )
    return (DecisionWarning(code="unknown-scene", field="state.look", message=message),)
