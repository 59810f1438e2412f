"""Results of evaluations over HTTP: light and whole, exports, events, summaries, metrics."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from services.env_runner.queue import JobStore
from tests.queued import play_one
from waymark.clients.services import EvaluationClient
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest, EvaluationStatus, MadeBy
from waymark.errors import JobStoreUnavailable
from waymark.evaluation.export import MEDIA_TYPES, encode
from waymark.evaluation.published_comparison import beside_published
from waymark.evaluation.scores import summarise
from waymark.serving.middleware.install import install_middleware
from waymark.worlds.registry import get_world

pytestmark = pytest.mark.anyio


async def test_a_summary_refuses_results_of_several_checkpoints(http: httpx.AsyncClient, store: JobStore) -> None:
    """As a version would leave them that did not check what it committed."""
    answer = await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]})
    name = answer.json()["id"]
    played = [play_one(store), play_one(store)]
    assert (await http.get(f"/v1/evaluations/{name}/summary")).status_code == 200
    foreign = played[1].without_trajectory().model_copy(update={"checkpoints": MadeBy(executor="b" * 12)})
    store._redis.hset(f"waymark:evaluation:{name}:results", foreign.id, foreign.model_dump_json())
    refused = await http.get(f"/v1/evaluations/{name}/summary")
    assert refused.status_code == 422
    assert "1 by bbbbbbbbbbbb" in refused.json()["detail"]


async def test_results_are_served_light_and_episodes_whole(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = play_one(store)
    light = (await http.get(f"/v1/evaluations/{status.id}/results")).json()
    assert [(result["id"], result["trajectory"]) for result in light] == [(played.id, [])]
    assert await client.episode(status.id, played.id) == played


async def test_an_export_is_a_file_in_the_requested_format(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-1", "4-2"), variations=(0,)))
    played = [play_one(store), play_one(store)]
    for form, kind in MEDIA_TYPES.items():
        answer = await http.get(f"/v1/evaluations/{status.id}/export", params={"format": form})
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"] == f'attachment; filename="{status.id}.{form}"'
        assert answer.content == b"".join(encode(played, form))


async def test_a_file_that_breaks_off_is_never_taken_for_whole() -> None:
    app = FastAPI()
    install_middleware(app)

    def pieces() -> Iterator[bytes]:
        yield b"half of it"
        raise JobStoreUnavailable("Redis has gone.")

    @app.get("/file")
    def file() -> StreamingResponse:
        return StreamingResponse(pieces())

    async with httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app)) as http:
        with pytest.raises(RuntimeError, match="response already started"):  # a server then cuts the connection
            await http.get("/file")


async def test_events_tell_every_result_and_end_with_the_evaluation(client: EvaluationClient, store: JobStore) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = [play_one(store).id, play_one(store).id]
    events = [event async for event in client.events(status.id)]
    assert [event.id for event in events if isinstance(event, EpisodeResult)] == played
    assert isinstance(events[-1], EvaluationStatus)
    assert (events[-1].state, events[-1].finished, events[-1].mean_score) == ("finished", 2, 50)


async def test_events_go_on_after_the_last_one_seen(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    first, second = play_one(store), play_one(store)
    path = f"/v1/evaluations/{status.id}/events"
    text = (await http.get(path)).text
    last_id = next(line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: "))
    rest = (await http.get(path, headers={"Last-Event-ID": last_id})).text
    assert first.id in text
    assert first.id not in rest
    assert second.id in rest


async def test_metrics_count_episodes_by_state(
    client: EvaluationClient, http: httpx.AsyncClient, store: JobStore
) -> None:
    def states(text: str) -> dict[str, float]:
        lines = [line for line in text.splitlines() if line.startswith("waymark_episodes{")]
        return {line.split('"')[1]: float(line.split()[1]) for line in lines}

    before = states((await http.get("/metrics")).text)
    await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    play_one(store)
    after = states((await http.get("/metrics")).text)
    assert {state: after[state] - before[state] for state in after} == {
        "waiting": 1,
        "running": 0,
        "finished": 1,
        "errored": 0,
    }


async def test_a_summary_is_that_of_the_closing_table(
    http: httpx.AsyncClient, client: EvaluationClient, store: JobStore
) -> None:
    submitted = (await http.post("/v1/evaluations", json={"tasks": ["1-1", "4-2"]})).json()
    assert submitted["agent_name"] == "hierarchical"
    played = [play_one(store), play_one(store, error=EpisodeError(kind="EnvironmentFault", message="It hung."))]
    request = (await client.status(submitted["id"])).request
    world = get_world("scripted")
    expected = beside_published(submitted["id"], summarise(played, world), world, request)
    assert await client.summary(submitted["id"]) == expected
    assert (await http.get("/v1/evaluations/nobody/summary")).status_code == 404
