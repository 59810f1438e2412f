"""Model text that stands for no decision is never returned as one, whatever the route."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import pytest

from tests.serving import MCP_ACCEPT, STATE, asking, says, service_app, tool_call
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings
from waymark.worlds.registry import get_format

pytestmark = pytest.mark.anyio

UNREADABLE = ["", "   ", "?", "...", "\x00", "look\x1b[31m around", "look\u202earound", "word " * 200, "\n\n"]


@pytest.mark.parametrize("text", [*UNREADABLE, "reset task", " Reset  TASK "])
async def test_an_unreadable_action_is_marked_and_quoted(text: str) -> None:
    async with asking("executor", default=says(text)) as client:
        answer = (await client.post("/v1/action", json={"state": STATE})).json()
    expected: dict[str, Any] = {"action": None, "ended_subgoal": True, "parsed": False, "raw": text[:500]}
    assert {name: answer[name] for name in expected} == expected
    assert [{name: alternative[name] for name in expected} for alternative in answer["alternatives"]] == [expected]


@pytest.mark.parametrize("text", UNREADABLE)
async def test_an_unreadable_subgoal_is_marked_and_quoted(text: str) -> None:
    async with asking("controller", default=says(text)) as client:
        answers = (await client.post("/v1/subgoals", json=[{"state": STATE}, {"state": STATE, "n": 2}])).json()
    expected = {"subgoal": "", "parsed": False, "raw": text[:500]}
    for answer in answers:
        assert {name: answer[name] for name in expected} == expected
        assert [{name: alternative[name] for name in expected} for alternative in answer["alternatives"]] == [expected]


async def test_the_published_format_marks_unparsable_text() -> None:
    model = dataclasses.replace(
        scripted_model("default", "executor", ScriptedGenerator(says("PICK(", "fly up", "END_SG()"))),
        format=get_format("seed"),
    )
    app = create_app("executor", {"default": model}, ServiceSettings())
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://s") as client:
        both = (await client.post("/v1/action", json={"state": STATE, "n": 2})).json()
        three = (await client.post("/v1/action", json={"state": STATE, "n": 3})).json()
    read = [(alternative["parsed"], alternative["raw"]) for alternative in both["alternatives"]]
    assert read == [(False, "PICK("), (False, "fly up")]
    assert (three["action"], three["ended_subgoal"], three["parsed"], three["raw"]) == (None, True, True, None)
    assert len(three["alternatives"]) == 1


async def test_a_readable_answer_says_so_and_quotes_nothing() -> None:
    async with asking("executor", default=says("look around", "?")) as client:
        answer = (await client.post("/v1/action", json={"state": STATE, "n": 2})).json()
    assert (answer["action"], answer["parsed"], answer["raw"]) == ("look around", True, None)
    assert [alternative["action"] for alternative in answer["alternatives"]] == ["look around"]


async def test_the_mcp_tool_marks_unreadable_text_too() -> None:
    body = tool_call("next_action", {"state": STATE})
    app = service_app("executor", default=ScriptedGenerator(says("?")))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
    async with app.router.lifespan_context(app), client:
        answer = (await client.post("/mcp", json=body, headers=MCP_ACCEPT)).json()["result"]["structuredContent"]
    assert (answer["action"], answer["parsed"], answer["raw"]) == (None, False, "?")


async def test_completions_keep_the_text_as_the_model_wrote_it() -> None:
    async with asking("executor", default=says("?")) as client:
        answer = await client.post("/v1/completions", json={"model": "default", "prompt": "x"})
    assert answer.json()["choices"][0]["text"] == "?"
