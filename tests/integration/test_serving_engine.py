"""The executor that ships, behind its service: batches of everything at once, and what is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from waymark.contracts import ActionResponse
from waymark.loadtest.sample_states import sample
from waymark.serving.app import create_app
from waymark.serving.loaded_models import open_models
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio
VALID = ["look around", "inventory", "open door to kitchen", "wait1"]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    settings = ServiceSettings(threads=1, max_batch_tokens=512)
    app = create_app("executor", open_models("executor", settings), settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


async def ask(client: httpx.AsyncClient, request: dict[str, Any]) -> ActionResponse:
    response = await client.post("/v1/action", json=request)
    return ActionResponse.model_validate_json(response.raise_for_status().content)


def logprobs(answer: ActionResponse) -> dict[str | None, float]:
    return {alternative.action: alternative.logprob for alternative in answer.alternatives}


async def test_mixed_requests_at_once_are_answered_as_each_alone(client: httpx.AsyncClient) -> None:
    states = [decision.state.model_dump() for decision in sample() if decision.asked == "executor"][::12]
    kinds: list[dict[str, Any]] = [{}, {"n": 3}, {"valid_actions": VALID}, {"model": "flat"}]
    requests = [{"state": state, **kinds[place % len(kinds)]} for place, state in enumerate(states)]
    alone = [await ask(client, request) for request in requests]
    together = await asyncio.gather(*(ask(client, request) for request in requests))
    assert [answer.action for answer in together] == [answer.action for answer in alone]
    for answer, expected in zip(together, alone, strict=True):
        shared = logprobs(answer).keys() & logprobs(expected).keys()  # the last of an n-best may be a tie
        assert answer.action in shared
        assert [logprobs(answer)[action] for action in shared] == pytest.approx(
            [logprobs(expected)[action] for action in shared], abs=0.05
        )


async def test_a_cut_prompt_is_reported(client: httpx.AsyncClient) -> None:
    things = ", ".join(f"a thing numbered {number}" for number in range(400))
    state = {
        "task": "Go.",
        "look": f"This room is called the hall. In it, you see: {things}",
        "current_subgoal": "go()",
    }
    usage = (await ask(client, {"state": state})).usage
    assert usage.truncated_tokens > 0
    assert usage.prompt_tokens == 512


@pytest.mark.parametrize(("characters", "status"), [(490, 413), (40, 200)])
async def test_long_candidates_cost_what_reading_them_takes(
    client: httpx.AsyncClient, characters: int, status: int
) -> None:
    """256 of 490 characters would take four seconds of a core: as long as reading 189,000 tokens of prompts."""
    state = next(decision.state for decision in sample() if decision.asked == "executor").model_dump()
    valid = [f"pick up {number} {'metal pot ' * 50}"[:characters] for number in range(256)]
    answer = await client.post("/v1/action", json={"state": state, "valid_actions": valid})
    assert answer.status_code == status
    if status == 413:
        assert "tokens (prompt, answers and candidates), over the limit of 163,840" in answer.json()["detail"]
