"""Evaluations whose lists are far too long are refused before anything is planned."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.serving import JSON
from waymark.clients.services import ControllerClient, ExecutorClient
from waymark.contracts import EvaluationRequest, Problem
from waymark.serving.middleware.json_bounds import FEW_VALUES, check_values
from waymark.worlds.scienceworld.tasks import TASKS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An env-runner without its Redis, which none of these requests gets to."""
    clients = ControllerClient("http://controller"), ExecutorClient("http://executor")
    settings = Settings(environment="scripted", runs=tmp_path)
    app = create_app(settings, JobStore("redis://127.0.0.1:1"), *clients, Provenance("scripted", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"variations": [0] * 1_000_000}, 413),
        ({"tasks": ["1-1"] * 500_000}, 413),
        ({f"k{number}": 0 for number in range(200_000)}, 413),
        ({"variations": [0] * 3_000}, 422),
        ({"tasks": ["1-1"] * 3_000}, 422),
        ({"tasks": ["x" * 1_000_000]}, 422),
        ({"protocol": "x" * 1_000_000}, 422),
        ({"agent": {"x" * 1_000_000: 0}}, 422),
    ],
)
async def test_a_list_over_the_limit_is_refused_briefly(
    http: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    response = await http.post("/v1/evaluations", content=json.dumps(body), headers=JSON)
    assert response.status_code == status, response.text[:300]
    assert len(response.content) < 3_000


async def test_a_list_is_refused_at_its_first_wrong_item(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/evaluations", json={"tasks": [0] * 1_500})
    problem = Problem.model_validate_json(response.content)
    assert (response.status_code, len(problem.errors), problem.more_errors) == (422, 1, 0)


def test_every_task_and_every_variation_may_be_named() -> None:
    longest = max(task.variations for task in TASKS)
    request = {"tasks": [task.id for task in TASKS], "variations": list(range(longest))}
    check_values(json.dumps(request).encode(), FEW_VALUES)
    EvaluationRequest.model_validate(request)
