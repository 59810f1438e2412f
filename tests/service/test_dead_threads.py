"""A service whose model thread has died says so, and refuses what would wait without end."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from tests.serving import STATE, asking_generators, says
from waymark.inference import Encoded, Generation, Prompt
from waymark.inference.engines.scripted import ScriptedGenerator

pytestmark = pytest.mark.anyio


class EndsModelThread(ScriptedGenerator):
    """An engine whose library ends the thread that it is called from."""

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1) -> list[Generation]:
        raise SystemExit


class EndsTokeniser(ScriptedGenerator):
    """One that ends the thread that tokenises."""

    def encode(self, prompts: Sequence[str]) -> list[Encoded]:
        raise SystemExit


@pytest.mark.parametrize("kind", [EndsModelThread, EndsTokeniser])
async def test_a_dead_model_thread_makes_the_service_unready(kind: type[ScriptedGenerator]) -> None:
    async with asking_generators("executor", default=kind(says("look around"))) as client:
        assert (await client.get("/health/ready")).status_code == 200
        body = {"state": STATE, "deadline_ms": 500}
        assert (await client.post("/v1/action", json=body)).status_code in {503, 504}
        with anyio.fail_after(10):
            while (await client.get("/health/ready")).status_code == 200:  # noqa: ASYNC110 - readiness is asked for
                await anyio.sleep(0.05)
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "has died" in answer.json()["detail"]
        assert (await client.post("/v1/action", json=body)).status_code == 503
