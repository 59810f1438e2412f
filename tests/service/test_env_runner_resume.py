"""Evaluations that are cancelled, lost or edited, and what becomes of their folders."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from services.env_runner.queue import JobStore
from services.env_runner.result_writer import ResultKeeper
from tests.queued import play_one, until_on_disk
from tests.samples import VERSIONS, evaluation
from waymark.clients.services import EvaluationClient
from waymark.contracts import EpisodeError, EpisodeResult, EvaluationRequest
from waymark.errors import ServiceError, ServiceRejected
from waymark.evaluation.requested_episodes import episodes
from waymark.evaluation.run_folder import EPISODES, HEADER, RunFolder

pytestmark = pytest.mark.anyio


async def test_a_folder_of_several_checkpoints_is_not_resumed(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    await until_on_disk(tmp_path / status.id, [play_one(store)])
    foreign = play_one(store)
    with anyio.fail_after(10):
        while len(list(RunFolder(tmp_path / status.id).results())) < 2:  # noqa: ASYNC110 - the file is what counts
            await anyio.sleep(0.05)
    other = VERSIONS.model_copy(update={"executor": VERSIONS.executor.model_copy(update={"sha256": "b" * 64})})
    RunFolder(tmp_path / status.id).append(foreign.model_copy(update={"versions": other}))
    store._redis.flushall()
    with pytest.raises(ServiceRejected, match="not all played by its executor"):
        await client.resume(status.id)
    assert store.ids() == []


async def test_a_cancelled_evaluation_is_resumed_with_its_missing_episodes(
    client: EvaluationClient, store: JobStore
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    play_one(store)
    assert (await client.cancel(status.id)).state == "cancelled"
    assert store.lease("worker", wait_seconds=0.01) is None
    assert (await client.resume(status.id)).state == "running"
    play_one(store)
    assert (await client.status(status.id)).state == "finished"


async def test_only_errored_episodes_are_played_again(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    failed, good = play_one(store, error=EpisodeError(kind="EnvironmentFault", message="It hung.")), play_one(store)
    await until_on_disk(tmp_path / status.id, [failed, good])
    assert (await client.resume(status.id, errored=True)).finished == 1
    better = play_one(store)
    assert better.id == failed.id
    await until_on_disk(tmp_path / status.id, [good, better])
    after = await client.status(status.id)
    assert (after.state, after.finished, after.errored) == ("finished", 2, 0)
    assert [event.id async for event in client.events(status.id) if isinstance(event, EpisodeResult)] == [
        good.id,
        better.id,
    ]


async def test_an_evaluation_lost_by_redis_is_restored_from_its_folder(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2", "4-1")))
    failed, good = play_one(store, error=EpisodeError(kind="EnvironmentFault", message="It hung.")), play_one(store)
    await until_on_disk(tmp_path / status.id, [failed, good])
    store._redis.flushall()
    on_disk_only = await client.status(status.id)
    assert (on_disk_only.state, on_disk_only.finished, on_disk_only.errored) == ("cancelled", 2, 1)
    back = await client.resume(status.id)
    assert back.model_copy(update={"state": "queued", "finished": 0, "errored": 0, "mean_score": None}) == status
    assert (back.state, back.finished, back.errored, back.mean_score) == ("running", 2, 1, 25)
    last = play_one(store)
    assert store.lease("worker", wait_seconds=0) is None
    assert {event.id async for event in client.events(status.id) if isinstance(event, EpisodeResult)} == {
        failed.id,
        good.id,
        last.id,
    }
    assert await client.episode(status.id, good.id) == good
    await until_on_disk(tmp_path / status.id, [failed, good, last])


async def test_a_lost_evaluation_does_not_go_on_with_other_checkpoints(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1",)))
    store._redis.flushall()
    folder = RunFolder(tmp_path / status.id)
    begun = folder.evaluation().model_copy(update={"versions": VERSIONS.model_copy(update={"controller": None})})
    (folder.path / HEADER).write_text(begun.model_dump_json())
    with pytest.raises(ServiceRejected, match="began with the controller none; here it would continue with") as refused:
        await client.resume(status.id)
    assert refused.value.field == "evaluation_id"


@pytest.mark.parametrize("damage", ["no date", "FIFO", "another task", "another evaluation", "not a number"])
async def test_an_edited_folder_is_refused_and_no_other_suffers(
    client: EvaluationClient, store: JobStore, tmp_path: Path, damage: str
) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    status = await client.submit(request)
    good = play_one(store)
    await until_on_disk(tmp_path / status.id, [good])
    store._redis.flushall()
    folder = RunFolder(tmp_path / status.id)
    lines = folder.path / EPISODES
    match damage:
        case "no date":
            edited = folder.evaluation().model_copy(update={"created": "today"})
            (folder.path / HEADER).write_text(edited.model_dump_json())
        case "FIFO":
            lines.unlink()
            os.mkfifo(lines)
        case "another task":
            folder.append(good.model_copy(update={"id": "2-1_0", "task": "2-1", "variation": 0}))
        case "another evaluation":
            folder.append(good.model_copy(update={"id": "4-2_0", "task": "4-2", "evaluation": "other"}))
        case "not a number":
            lines.write_text(lines.read_text().replace('"seconds":0.1', '"seconds":NaN'))
    with anyio.fail_after(10):
        for _ in range(2):
            # What is no plain file counts as storage that cannot be used (507); all else as a wrong folder (422).
            with pytest.raises(ServiceError if damage == "FIFO" else ServiceRejected, match=status.id):
                await client.resume(status.id)
        assert (await client.evaluations()).items == ()
        other = await client.submit(request)
        await until_on_disk(tmp_path / other.id, [play_one(store), play_one(store)])


async def test_a_fifo_in_a_folder_stops_no_other_results(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    specs = episodes("edited", request)
    store.submit(evaluation("edited", request, episodes=len(specs)), specs)
    (tmp_path / "edited").mkdir()
    os.mkfifo(tmp_path / "edited" / EPISODES)
    keeper = ResultKeeper(store, tmp_path)
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(keeper.catch_up)
    store.cancel("edited")
    other = await client.submit(request)
    with anyio.fail_after(10):
        await until_on_disk(tmp_path / other.id, [play_one(store), play_one(store)])


async def test_every_committed_episode_is_written_to_disk_once(
    client: EvaluationClient, store: JobStore, tmp_path: Path
) -> None:
    status = await client.submit(EvaluationRequest(tasks=("1-1", "4-2")))
    played = [play_one(store), play_one(store)]
    await until_on_disk(tmp_path / status.id, played)
    assert RunFolder(tmp_path / status.id).evaluation().request == status.request


async def test_a_restarted_app_writes_what_was_committed_meanwhile(store: JobStore, tmp_path: Path) -> None:
    request = EvaluationRequest(tasks=("1-1", "4-2"))
    specs = episodes("restarted", request)
    store.submit(evaluation("restarted", request, episodes=len(specs)), specs)
    played = play_one(store)
    for _ in range(2):
        ResultKeeper(store, tmp_path).catch_up()
    assert list(RunFolder(tmp_path / "restarted").results()) == [played]
