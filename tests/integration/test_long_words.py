"""A shipped model that repeats a word of its prompt repeats no more of it than fits an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from waymark.serving.app import create_app
from waymark.serving.loaded_models import open_models
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio
CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
WORD = "x" * 60_000


@pytest.fixture
async def executor() -> AsyncIterator[httpx.AsyncClient]:
    settings = ServiceSettings(checkpoints={"default": CHECKPOINTS / "executor"}, threads=1)
    app = create_app("executor", open_models("executor", settings), settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client,
    ):
        yield client


@pytest.mark.parametrize("more", [{}, {"logprobs": 0}, {"n": 4, "logprobs": 0}, {"stream": True}])
@pytest.mark.parametrize(
    "prompt", [WORD, f"pick_up {WORD[:30_000]} | here {WORD[:30_000]}", f"{WORD[:600]} {WORD[:601]}"]
)
async def test_the_answer_to_the_longest_allowed_word_is_short(
    executor: httpx.AsyncClient, prompt: str, more: dict[str, object]
) -> None:
    response = await executor.post("/v1/completions", json={"model": "default", "prompt": prompt, **more})
    assert response.status_code == 200, response.text[:500]
    assert len(response.content) < 200_000


async def test_a_word_over_the_limit_is_refused_and_not_repeated(executor: httpx.AsyncClient) -> None:
    response = await executor.post("/v1/completions", json={"model": "default", "prompt": WORD * 8})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert len(response.content) < 1_000
