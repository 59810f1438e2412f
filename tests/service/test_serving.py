"""The two services in this process, on the scripted engine: decisions, and every form of error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from tests.serving import JSON, STATE, Asking, Stuck, asking, asking_generators, problem, says
from waymark.contracts import ActionResponse, ServiceInfo, SubgoalResponse
from waymark.serving.app import create_app
from waymark.serving.loaded_models import scripted_model
from waymark.serving.settings import ServiceSettings

pytestmark = pytest.mark.anyio

FRESH = {"task": "Your task is to boil water.", "look": "This room is called the kitchen."}


async def test_the_controller_names_a_subgoal_in_the_notation_of_subgoals() -> None:
    async with asking("controller", default=says("move apple , red box", "wait 2")) as client:
        response = await client.post("/v1/subgoal", json={"state": STATE, "n": 2})
    answer = SubgoalResponse.model_validate_json(response.content)
    assert answer.subgoal == "move(apple, red box)"
    assert [(alternative.subgoal, alternative.logprob) for alternative in answer.alternatives] == [
        ("move(apple, red box)", -1.0),
        ("wait(2)", -2.0),
    ]
    assert answer.alternatives[0].mean_logprob == pytest.approx(-1 / 6)
    assert answer.usage.completion_tokens == 9
    assert answer.usage.prompt_tokens > 5


async def test_the_first_model_answers_only_at_the_first_step() -> None:
    async with asking("controller", default=says("wait 1"), first=says("focus on water")) as client:
        fresh = await client.post("/v1/subgoal", json={"state": FRESH})
        later = await client.post("/v1/subgoal", json={"state": STATE})
    assert fresh.json()["model"] == "first"
    assert later.json()["model"] == "default"


async def test_an_action_is_null_exactly_when_it_ends_the_subgoal() -> None:
    async with asking("executor", default=says("end", "look around")) as client:
        response = await client.post("/v1/action", json={"state": STATE, "n": 2})
    answer = ActionResponse.model_validate_json(response.content)
    assert (answer.action, answer.ended_subgoal) == (None, True)
    assert [(alternative.action, alternative.ended_subgoal) for alternative in answer.alternatives] == [
        (None, True),
        ("look around", False),
    ]


async def test_repeated_and_unreadable_alternatives_are_dropped() -> None:
    async with asking("executor", default=says("", "look around", "look  around", "inventory")) as client:
        response = await client.post("/v1/action", json={"state": STATE, "n": 4})
    assert [alternative["action"] for alternative in response.json()["alternatives"]] == ["look around", "inventory"]


async def test_with_valid_actions_the_answer_is_the_likeliest_of_them() -> None:
    async with asking("executor", default=says("look around", "go to kitchen", "inventory")) as client:
        valid = ["inventory", "go to kitchen", "open door to green house"]
        response = await client.post("/v1/action", json={"state": STATE, "n": 3, "valid_actions": valid})
    answer = response.json()
    assert answer["action"] == "go to kitchen"
    assert {alternative["action"] for alternative in answer["alternatives"]} == set(valid)
    likeliest = max(answer["alternatives"], key=lambda alternative: alternative["mean_logprob"])
    assert answer["action"] == likeliest["action"]


async def test_lists_are_answered_in_order_by_the_named_models() -> None:
    async with asking("executor", default=says("look around"), flat=says("inventory")) as client:
        requests = [{"state": STATE}, {"state": STATE, "model": "flat"}, {"state": STATE}]
        response = await client.post("/v1/actions", json=requests)
    assert [(answer["model"], answer["action"]) for answer in response.json()] == [
        ("default", "look around"),
        ("flat", "inventory"),
        ("default", "look around"),
    ]


async def test_a_running_service_reports_its_info_and_health() -> None:
    async with asking("executor", default=says("look around"), flat=says("inventory")) as client:
        info = ServiceInfo.model_validate_json((await client.get("/info")).content)
        assert [(checkpoint.model, checkpoint.role) for checkpoint in info.checkpoints] == [
            ("default", "executor"),
            ("flat", "flat"),
        ]
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/health/live")).status_code == 200


async def test_before_it_is_ready_a_service_lives_but_answers_503() -> None:
    app = create_app("controller", {"default": scripted_model("default", "controller")}, ServiceSettings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/health/live")).status_code == 200
        problem(await client.get("/health/ready"), 503, "service-unavailable")
        response = await client.post("/v1/subgoal", json={"state": STATE})
        problem(response, 503, "service-unavailable")
        assert response.headers["retry-after"] == "1"


@pytest.fixture
def executor() -> Asking:
    return asking("executor", ServiceSettings(max_body_bytes=2_000), default=says("look around"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"state": {"task": "t"}}, "state.look"),
        ({"state": {**STATE, "turns": [{"action": "", "observation": ""}]}}, "state.turns.0.action"),
        ({"state": STATE, "n": 0}, "n"),
        ({"state": STATE, "unknown": 1}, "unknown"),
        ({"state": STATE, "model": "big"}, "model"),
        ({"state": STATE, "valid_actions": []}, "valid_actions"),
    ],
)
async def test_wrong_input_is_answered_with_the_field(executor: Asking, body: dict[str, Any], field: str) -> None:
    async with executor as client:
        refusal = problem(await client.post("/v1/action", json=body), 422, "invalid-input")
        listed = problem(await client.post("/v1/actions", json=[{"state": STATE}, body]), 422, "invalid-input")
    assert [error.field for error in refusal.errors] == [field]
    assert [error.field for error in listed.errors] == [f"1.{field}"]


async def test_an_unknown_model_is_answered_with_those_that_are_loaded(executor: Asking) -> None:
    async with executor as client:
        refusal = problem(await client.post("/v1/action", json={"state": STATE, "model": "big"}), 422, "invalid-input")
    assert "default" in refusal.detail


async def test_each_error_before_a_route_is_a_problem_too(executor: Asking) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    async with executor as client:
        problem(await client.get("/nope"), 404, "not-found")
        refused = await client.get("/v1/action")
        problem(refused, 405, "method-not-allowed")
        assert refused.headers["allow"] == "POST"
        problem(await client.post("/v1/action", content=b"{", headers=JSON), 422, "invalid-input")
        problem(await client.post("/v1/action", content=b"{}"), 415, "unsupported-media-type")
        problem(await client.post("/v1/action", content=b"x" * 3_000), 413, "input-too-large")
        problem(await client.post("/v1/action", content=chunks()), 413, "input-too-large")


async def test_a_well_formed_request_id_is_kept_others_are_replaced(executor: Asking) -> None:
    async with executor as client:
        kept = await client.get("/info", headers={"X-Request-ID": "run-7"})
        replaced = await client.get("/info", headers={"X-Request-ID": "a b"})
    assert kept.headers["x-request-id"] == "run-7"
    assert len(replaced.headers["x-request-id"]) == 32


async def test_a_bug_is_answered_without_its_traceback() -> None:
    def broken(_: str) -> Sequence[tuple[str, float]]:
        raise RuntimeError("secret detail")

    async with asking("executor", default=broken) as client:
        response = await client.post("/v1/action", json={"state": STATE})
        assert (await client.get("/health/ready")).status_code == 200
    problem(response, 500, "internal-error")
    assert "secret detail" not in response.text


async def test_a_full_queue_is_429_and_a_passed_deadline_504() -> None:
    stuck = Stuck()
    async with asking_generators("executor", ServiceSettings(max_queue=2), default=stuck) as client:
        late = await client.post("/v1/action", json={"state": STATE, "deadline_ms": 20})
        problem(late, 504, "deadline-exceeded")
        late = await client.post("/v1/action", json={"state": STATE}, headers={"X-Waymark-Deadline-Ms": "20"})
        problem(late, 504, "deadline-exceeded")
        waiting = [asyncio.create_task(client.post("/v1/action", json={"state": STATE})) for _ in range(2)]
        await asyncio.sleep(0.05)
        full = await client.post("/v1/action", json={"state": STATE})
        problem(full, 429, "queue-full")
        assert int(full.headers["retry-after"]) >= 1
        stuck.released.set()
        assert [(await answer).status_code for answer in waiting] == [200, 200]
