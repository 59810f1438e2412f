"""The env-runner's HTTP interface: submissions, pages, errors, readiness."""

from __future__ import annotations

import secrets
from pathlib import Path

import httpx
import pytest

from services.env_runner.app import create_app
from services.env_runner.provenance import Provenance
from services.env_runner.queue import JobStore
from services.env_runner.settings import Settings
from tests.queued import play_one
from tests.serving import scripted_services
from waymark.clients.services import ControllerClient, EvaluationClient, ExecutorClient
from waymark.contracts import EvaluationRequest

pytestmark = pytest.mark.anyio


async def test_a_submission_records_the_served_checkpoints(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "boil", "4-2")))
    assert (status.state, status.episodes, status.finished) == ("queued", 2, 0)
    assert status.versions is not None
    assert (status.versions.environment, status.versions.commit) == ("scripted", "abc")
    assert status.versions.controller is not None
    assert (status.versions.controller.role, status.versions.executor.role) == ("controller", "executor")
    assert await client.status(status.id) == status


async def test_a_submission_repeated_with_its_key_is_played_once(http: httpx.AsyncClient, store: JobStore) -> None:
    key = {"Idempotency-Key": secrets.token_hex()}
    first = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]}, headers=key)
    play_one(store)
    again = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"], "seed": 0}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["id"], again.json()["finished"]) == (first.json()["id"], 1)
    play_one(store)
    assert store.lease("worker", wait_seconds=0) is None


async def test_a_key_is_refused_with_another_evaluation(http: httpx.AsyncClient, store: JobStore) -> None:
    key = {"Idempotency-Key": secrets.token_hex()}
    await http.post("/v1/evaluations", json={"tasks": ["1-1"]}, headers=key)
    before = store.ids()
    answer = await http.post("/v1/evaluations", json={"tasks": ["4-2"]}, headers=key)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert "a key of its own" in answer.json()["detail"]
    assert store.ids() == before


async def test_pages_of_evaluations_do_not_overlap_while_more_come(
    client: EvaluationClient,
) -> None:
    submitted = [(await client.submit(EvaluationRequest(tasks=("1-1",)))).id for _ in range(3)]
    page = await client.evaluations(limit=2)
    assert [item.id for item in page.items] == submitted[:0:-1]
    newer = await client.submit(EvaluationRequest(tasks=("1-1",)))
    rest = await client.evaluations(limit=2, cursor=page.next_cursor)
    assert rest.items[0].id == submitted[0]
    assert (await client.evaluations(limit=1)).items == (newer,)
    while rest.next_cursor is not None:
        rest = await client.evaluations(limit=2, cursor=rest.next_cursor)
    assert rest.items


async def test_pages_of_episodes_follow_the_order_of_play(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-1", "4-2"), variations=(0,)))
    played = play_one(store)
    page = await client.episodes(status.id, limit=2)
    assert [(item.task, item.result) for item in page.items] == [("1-1", played.without_trajectory()), ("4-1", None)]
    rest = await client.episodes(status.id, limit=2, cursor=page.next_cursor)
    assert [(item.task, item.result) for item in rest.items] == [("4-2", None)]
    assert rest.next_cursor is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"),
        ("?cursor=nobody", "cursor"),
        ("/a:results", "evaluation_id"),
        ("/a/episodes?cursor=-1", "cursor"),
        ("/a/export?format=xlsx", "format"),
    ],
)
async def test_a_wrong_question_is_refused_at_its_field(http: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await http.get(f"/v1/evaluations{path}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_flat_agent_needs_no_controller(http: httpx.AsyncClient) -> None:
    agent = {"subgoals": "none", "executor_model": "flat"}
    answer = await http.post("/v1/evaluations", json={"agent": agent, "tasks": ["1-1"]})
    assert answer.status_code == 201
    assert answer.json()["versions"]["controller"] is None
    assert answer.json()["versions"]["executor"]["role"] == "flat"


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"tasks": ["1-9"]}, "tasks", "1-9"),
        ({"tasks": ["1-1"], "variations": [30]}, "variations", "0 to 29"),
        ({"agent": {"subgoals": "llm_plan"}}, "agent.subgoals", "WAYMARK_PLANNER_URL"),
        ({"agent": {"subgoals": "semi_random", "controller_model": "large"}}, "agent.controller_model", "default"),
        ({"agent": {"subgoals": "random", "executor_model": "flat"}}, "agent.executor_model", "trained as flat"),
        ({"agent": {"controller_model": "large"}}, "agent.controller_model", "default"),
        ({"agent": {"executor_model": "large"}}, "agent.executor_model", "default"),
        ({"agent": {"subgoals": "none"}}, "agent.executor_model", "flat"),
        ({"agent": {"executor_model": "flat"}}, "agent.executor_model", "trained as flat"),
        ({"protocol": "slow"}, "protocol", "quick"),
        ({"colour": "red"}, "colour", "colour"),
        ({"simplifications": "eazy"}, "simplifications", "teleportAction"),
        ({"tasks": ["4-2"], "simplifications": "easy,eazy"}, "simplifications", "eazy"),
        ({"tasks": ["3-3"], "simplifications": "noElectricalAction"}, "simplifications", "3-3"),
        ({"protocol": "full", "simplifications": "x" * 400_000}, "simplifications", "200"),
        ({"tasks": ["4-2"] * 101}, "tasks", "100"),
        ({"tasks": ["x" * 101]}, "tasks.0", "100"),
        ({"tasks": [0] * 1_000}, "tasks.0", "string"),
        ({"variations": [[]] * 1_000}, "variations.0", "integer"),
        ({"variations": [0] * 2_001}, "variations", "2000"),
        ({"variations": [-1]}, "variations.0", "greater than or equal to 0"),
        ({"agent": {"executor_model": "x" * 101}}, "agent.executor_model", "100"),
        ({"agent": {"controller_model": ""}}, "agent.controller_model", "1"),
        ({"limits": {"moves": 1, "turns": 1, "patience": 10**300}}, "limits.patience", "1000000"),
    ],
)
async def test_a_wrong_submission_is_refused_at_its_field(
    http: httpx.AsyncClient, store: JobStore, body: dict[str, object], field: str, says: str
) -> None:
    before = store.statuses()
    answer = await http.post("/v1/evaluations", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert says in answer.json()["detail"]
    assert len(answer.content) < 2_000
    assert store.statuses() == before


@pytest.mark.parametrize("source", ["random", "semi_random"])
async def test_a_source_of_subgoals_that_the_world_lacks_is_refused(
    store: JobStore, tmp_path: Path, source: str
) -> None:
    async with scripted_services() as services:
        settings = Settings(environment="textworld-express", runs=tmp_path)
        other = create_app(settings, store, *services, Provenance("textworld-express 1.1.0", "abc"))
        async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(other)) as client:
            answer = await client.post("/v1/evaluations", json={"agent": {"subgoals": source}})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["agent.subgoals"]
    assert store.statuses() == []


@pytest.mark.parametrize("simplifications", ["", "easy,easy", "openDoors, teleportAction", "EASY"])
async def test_known_simplifications_are_taken_as_they_are_written(
    client: EvaluationClient, store: JobStore, simplifications: str
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("4-2",), simplifications=simplifications))
    assert status.request.simplifications == simplifications
    assert store.specs(status.id)[0].options == simplifications


async def test_unknown_ids_are_not_found(http: httpx.AsyncClient) -> None:
    for path in ("", "/results", "/events", "/export", "/episodes/x"):
        answer = await http.get(f"/v1/evaluations/nobody{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:waymark:not-found")


async def test_it_is_ready_only_while_redis_answers(http: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await http.get("/health/ready")).status_code == 200
    cut_off = create_app(
        Settings(runs=tmp_path),
        JobStore("redis://127.0.0.1:1"),
        ControllerClient("http://controller"),
        ExecutorClient("http://executor"),
        Provenance("scripted", None),
    )
    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(cut_off)) as other:
        assert (await other.get("/health/live")).status_code == 200
        answer = await other.get("/health/ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:waymark:job-store-unavailable")
