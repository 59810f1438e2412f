"""A state that is not of the checkpoint's world is answered with a warning, on every route."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.oracle import trajectories
from tests.serving import MCP_ACCEPT, says, tool_call
from waymark.contracts import AgentState
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.answer_warnings import warnings_of
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.worlds.registry import get_format

pytestmark = pytest.mark.anyio

SHOP = "Free shipping over $35! Kitchen & Dining > Thermometers. Add to cart. 4.7 out of 5 stars. Your cart is empty."
CHAT = "Hi there! Can you help me to move the couch out of the kitchen? You are in the way :-)"
KITCHEN = "This room is called the kitchen. In it, you see: \n\ta table\nYou also see:\n\tA door to the hallway"
PANTRY = "You are in the pantry. In one part of the room you see a shelf. To the North you see the kitchen."
WORLDS = {"compact": KITCHEN, "compact-nohistory": KITCHEN, "seed": KITCHEN, "textworld-plain": PANTRY}
"""By prompt format: a look of its world."""


def state(look: str) -> dict[str, Any]:
    return {"task": "Buy a thermometer for the kitchen.", "look": look}


@pytest.mark.parametrize("form", WORLDS)
@pytest.mark.parametrize("look", [SHOP, CHAT, "", KITCHEN, PANTRY])
async def test_the_routes_warn_of_looks_of_other_worlds_alone(form: str, look: str) -> None:
    """In the answers of `/v1/action`, of lists, and of the MCP tool, whose text names the world."""
    model = replace(
        scripted_model("default", "executor", ScriptedGenerator(says("look around"))), format=get_format(form)
    )
    app = create_app("executor", {"default": model}, ServiceSettings())
    body = tool_call("next_action", {"state": state(look)})
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    async with app.router.lifespan_context(app), client:
        single = (await client.post("/v1/action", json={"state": state(look)})).json()
        (listed,) = (await client.post("/v1/actions", json=[{"state": state(look)}])).json()
        tool = (await client.post("/mcp", json=body, headers=MCP_ACCEPT)).json()["result"]["structuredContent"]
    title = "TextWorldExpress" if form == "textworld-plain" else "ScienceWorld"
    for answer in (single, listed, tool):
        codes = [(warning["code"], warning["field"]) for warning in answer["warnings"]]
        assert codes == ([] if look == WORLDS[form] else [("unknown-scene", "state.look")])
        assert all(f"not one of {title}" in warning["message"] for warning in answer["warnings"])


def test_no_recorded_state_gets_a_warning() -> None:
    for path in trajectories():
        for look in (path.look, *(step.look for step in path.steps)):
            assert not warnings_of("compact", AgentState(task=path.task, look=look))
